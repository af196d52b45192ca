/* A webhook whose signature holds: into the queue, and its ends. */
#include "core/testpoint.h"
#include "realtime/intake/intake-impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
item_free(struct item *item)
{
	free(item->made);
	free(item->kept);
	free(item);
}

void
item_problem(struct item *item, const struct problem *p)
{
	struct request *req = item->req;

	metric_add(item->intake->refused, 1);
	item_free(item);
	if (req == NULL)
		return;
	req->gone = NULL;
	request_problem(req, p);
}

void
item_started(struct item *item, const struct uuid *run, const char *outcome)
{
	struct request *req = item->req;
	struct reply reply = { .status = 202 };
	int differs = strcmp(outcome, "differs") == 0;
	char id[UUID_TEXT], text[100], headers[QUOTA_HEADERS];

	metric_add(strcmp(outcome, "started") == 0 ? item->intake->stored
						   : item->intake->duplicates,
	    1);
	reply.headers = quota_headers(&item->rate, headers);
	item_free(item);
	if (req == NULL)
		return;
	testpoint("intake_before_reply");
	reply.body.s = text;
	reply.body.n = (size_t)snprintf(text, sizeof(text),
	    "{\"run_id\":\"%s\"%s%s}", uuid_format(run, id),
	    strcmp(outcome, "started") != 0 ? ",\"duplicate\":true" : "",
	    differs ? ",\"differs\":true" : "");
	req->gone = NULL;
	request_reply(req, &reply);
}

/* In the queue it goes with its client; in a batch it is already on its way. */
static void
item_gone(struct request *req)
{
	struct item *item = req->owner;

	item->req = NULL;
	if (list_empty(&item->link))
		return;
	list_remove(&item->link);
	item->intake->n_queue--;
	item_free(item);
}

void
item_push(struct item *item)
{
	struct intake *in = item->intake;

	item->req->owner = item;
	item->req->gone = item_gone;
	list_append(&in->queue, &item->link);
	in->n_queue++;
	loop_defer_call(in->pump);
}
