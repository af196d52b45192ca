#include "realtime/server/evlib.h"

#include <dlfcn.h>
#include <libwebsockets.h>

enum { TURNS = 4 }; /* handles whose end begins another's end */

struct turns {
	struct loop *loop;
	int left;
};

static void
turn(void *arg)
{
	struct turns *t = arg;

	if (--t->left == 0)
		loop_stop(t->loop, 0);
}

void
evlib_context_end(struct loop *loop, struct lws_context *lws)
{
	struct turns turns = { loop, TURNS };
	struct loop_timer *timer = loop_timer_new(loop, turn, &turns);

	dlopen("libwebsockets-evlib_uv.so",
	    RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
	lws_context_destroy(lws);
	loop_timer_every(timer, 1);
	loop_run(loop);
	loop_timer_free(timer);
	lws_context_destroy(lws);
}
