#pragma once
/*
 * The end of a libwebsockets context on a loop that isn't its own: it is
 * destroyed in steps, between which its handles close. libwebsockets unloads
 * its plugin for libuv with the last step, though the loop may still have
 * closed handles to tell it of: so the plugin is kept in the process.
 */
#include "core/loop.h"

struct lws_context;

/* Connections' callbacks see their ends. Runs the loop: not from a callback. */
void evlib_context_end(struct loop *loop, struct lws_context *lws);
