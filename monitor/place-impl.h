#pragma once
/* What place.c has of place-folder.c and place-storage.c. */
#include "http/client.h"
#include "monitor/part.h"
#include "monitor/place.h"

struct place {
	struct loop *loop;
	const char *folder; /* NULL: Storage */
	/* what is being put */
	struct str bytes;
	place_fn *fn;
	void *arg;
	struct loop_defer *told;
	struct error err; /* fault NONE: it is there */
	/* Storage */
	const char *key, *bucket; /* bucket with the prefix */
	const char *base;         /* https://PROJECT/storage/v1/object */
	struct guard guard;
	struct http *http;
	struct http_call *call;
	struct arena arena; /* of a request */
	const char *path;   /* BUCKET/PREFIX/DIR/FILE */
	int replace;
	void *sha; /* of what comes back */
	struct arena own;
};

/* p->told is called when it is there, or p->err says why not. */
void folder_put(struct place *p, const char *dir, const char *file);

int storage_init(
    struct place *p, const struct place_options *o, struct error *err);
void storage_deinit(struct place *p);
void storage_put(struct place *p, const char *dir, const char *file);
void storage_cancel(struct place *p);
