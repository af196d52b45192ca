#include "cli/cursor.h"
#include "cli/cli.h"
#include "core/buf.h"
#include "core/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 4096 };

static int
broken(struct error *err, const char *path)
{
	return fail(err, FAULT_INPUT, "CURSOR",
	    "%.200s: this is no cursor\n"
	    "remove it to begin anew",
	    path);
}

static int
parse(struct arena *a, struct str text, struct channel *channel, int64_t *epoch,
    int64_t *seq)
{
	struct json *v;
	struct str name;

	if (json_parse(a, text, NULL, &v, NULL) < 0)
		return -1;
	name = json_str(json_get(v, "channel"));
	if (json_integer(json_get(v, "epoch"), epoch) < 0 ||
	    json_integer(json_get(v, "seq"), seq) < 0 || *epoch < 0 ||
	    *seq < 0 || memchr(name.s, '\0', name.n) != NULL)
		return -1;
	return channel_parse(a, name.s, channel, NULL);
}

int
cursor_load(struct arena *a, const char *path, struct channel *channel,
    int64_t *epoch, int64_t *seq, struct error *err)
{
	char text[FILE_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct channel kept;
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return CURSOR_OUT_NONE;
	n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	if (n < 0)
		fail(err, FAULT_INPUT, "READ", "%.200s: %s", path,
		    strerror(errno));
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return -1;
	if (parse(a, (struct str){ text, (size_t)n }, &kept, epoch, seq) < 0)
		return broken(err, path);
	if (!channel_may_be(channel, &kept))
		return usage(err,
		    "%.200s is the cursor of %.200s\n"
		    "keep a file for each channel",
		    path, kept.name != NULL ? kept.name : kept.resource);
	*channel = kept;
	return 0;
}

static int
write_whole(const char *path, struct str text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int r;

	if (fd < 0)
		return -1;
	r = write(fd, text.s, text.n) == (ssize_t)text.n && fdatasync(fd) == 0
	    ? 0
	    : -1;
	if (close(fd) < 0)
		r = -1;
	return r;
}

int
cursor_save(const char *path, const struct channel *channel, int64_t epoch,
    int64_t seq, struct error *err)
{
	struct arena a;
	struct json *v;
	const char *beside;
	int r = 0;

	arena_init(&a);
	v = json_object(&a);
	json_set(&a, v, "channel", json_cstring(&a, channel->name));
	json_set(&a, v, "epoch", json_int(&a, epoch));
	json_set(&a, v, "seq", json_int(&a, seq));
	beside = arena_printf(&a, "%s.%ld", path, (long)getpid());
	if (write_whole(beside, json_text(&a, v)) < 0 ||
	    rename(beside, path) < 0) {
		r = fail(err, FAULT_INPUT, "WRITE", "%.200s: %s", path,
		    strerror(errno));
		unlink(beside);
	}
	arena_deinit(&a);
	return r;
}
