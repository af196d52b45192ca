/* Items: what tasks of a run come to, without a database. */
#include "worker/engine/item.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char definition[] =
    "{\"name\": \"f\", \"nodes\": ["
    "  {\"id\": \"start\", \"type\": \"manual\"},"
    "  {\"id\": \"a\", \"type\": \"transform\", \"output\": {\"n\": 1}},"
    "  {\"id\": \"b\", \"type\": \"transform\","
    "   \"output\": {\"m\": \"{{ steps.a.output.n }}\"}}],"
    " \"edges\": [{\"from\": \"start\", \"to\": \"a\"},"
    "           {\"from\": \"a\", \"to\": \"b\"}]}";

struct fixture {
	struct worker *w;
	struct version version;
	struct arena arena; /* of items */
	struct task task;
};

static const struct json *
parse(struct arena *a, const char *text)
{
	struct json *v;
	struct error err;

	if (json_parse(a, str_of(text), NULL, &v, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return v;
}

static void
set_up(struct fixture *f, const char *message, const char *slice, int32_t base)
{
	struct problems problems = { 0 };
	struct error err;

	memset(f, 0, sizeof(*f));
	f->w = calloc(1, sizeof(*f->w));
	arena_init(&f->version.arena);
	arena_init(&f->arena);
	arena_init(&f->task.arena);
	assert_int_equal(
	    flow_parse(&f->version.arena, parse(&f->version.arena, definition),
		&f->version.flow, &problems),
	    0);
	f->version.workflow = STR("f");
	f->version.number = 1;
	f->task.w = f->w;
	f->task.version = &f->version;
	f->task.trigger = STR("start");
	f->task.json = parse(&f->task.arena, message);
	f->task.slice = parse(&f->task.arena, slice);
	f->task.base = f->task.known = base;
	assert_int_equal(message_parse(f->version.flow, f->task.json,
			     &f->task.message, &err),
	    0);
}

static void
tear_down(struct fixture *f)
{
	for (uint32_t i = 0; i < f->task.n_tail; i++)
		past_put(f->task.tail[i]);
	assert_int_equal(f->w->past_bytes, 0);
	arena_deinit(&f->task.arena);
	arena_deinit(&f->arena);
	arena_deinit(&f->version.arena);
	free(f->w);
}

static void
make(struct fixture *f, struct item *item)
{
	struct task *tasks[] = { &f->task };
	struct error err = { 0 };

	if (item_make(item, &f->arena, tasks, 1, &err) < 0)
		fail_msg("%s", err.text);
}

static void
events_are(const struct item *item, const char *want)
{
	char got[512] = "";

	for (uint32_t i = 0; i < item->n_events; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got),
		    "%s%d %s", i > 0 ? ", " : "", item->events[i].seq,
		    item->events[i].type);
	assert_string_equal(got, want);
}

#define A_MESSAGE "{\"n\": \"a\", \"a\": 1, \"k\": \"step\"}"
#define B_MESSAGE                                                              \
	"{\"n\": \"b\", \"a\": 1, \"k\": \"step\", \"o\": [\"a\"],"            \
	" \"j\": [\"$end\"]}"

/* The step behind reads what this one gave, from the folded events alone. */
static void
test_inlines_what_it_holds(void **state)
{
	struct fixture f;
	struct item item;

	(void)state;
	set_up(&f, A_MESSAGE, "{}", 2);
	make(&f, &item);
	events_are(&item,
	    "3 step.succeeded, 4 step.scheduled, 5 step.succeeded, "
	    "6 run.succeeded");
	assert_string_equal(
	    json_text(&f.arena, json_get(item.events[2].payload, "output")).s,
	    "{\"m\":1}");
	assert_string_equal(item.status, "succeeded");
	assert_int_equal(item.n_sends, 0);
	tear_down(&f);
}

static void
test_sends_when_told_to(void **state)
{
	struct fixture f;
	struct item item;

	(void)state;
	set_up(&f, A_MESSAGE, "{}", 2);
	f.w->o.no_inline = 1;
	make(&f, &item);
	events_are(&item, "3 step.succeeded, 4 step.scheduled");
	assert_null(item.status);
	assert_int_equal(item.n_sends, 1);
	assert_string_equal(json_str(json_get(item.sends[0], "n")).s, "b");
	tear_down(&f);
}

#define A_ENDED                                                                \
	"[{\"seq\": 3, \"type\": \"step.succeeded\", \"payload\":"             \
	" {\"step\": \"a\", \"attempt\": 1, \"output\": {\"n\": 7}}}]"
#define B_SCHEDULED                                                            \
	"[{\"seq\": 4, \"type\": \"step.scheduled\", \"payload\":"             \
	" {\"step\": \"b\", \"attempt\": 1}}]"

static void
learn(struct fixture *f, const char *events, int32_t known)
{
	struct error err;
	struct past *p = past_new(f->w, str_of(events), &err);

	assert_non_null(p);
	task_learn(&f->task, p, known);
	past_put(p); /* the task has it */
}

/* What came after the slice was made goes before what it says; it may come in
 * pieces, and all of it must be there. */
static void
test_tail_is_younger(void **state)
{
	struct fixture f;
	struct item item;
	struct error err;

	(void)state;
	set_up(&f, A_MESSAGE, "{}", 2);
	learn(&f, A_ENDED, 3);
	learn(&f, B_SCHEDULED, 4);
	make(&f, &item);
	assert_int_equal(item.n_events, 0); /* answered: only to be deleted */
	assert_int_equal(f.task.attempted, 0);
	tear_down(&f);

	set_up(&f, B_MESSAGE, "{\"outputs\": {\"a\": {\"n\": 1}}}", 2);
	learn(&f, A_ENDED, 3);
	learn(&f, B_SCHEDULED, 4);
	make(&f, &item);
	assert_string_equal(
	    json_text(&f.arena, json_get(item.events[0].payload, "output")).s,
	    "{\"m\":7}");
	assert_int_equal(f.task.attempted, 1);
	tear_down(&f);

	set_up(&f, B_MESSAGE, "{}", 2);
	learn(&f, A_ENDED, 3);
	f.task.known = 4;
	assert_int_equal(
	    item_make(&item, &f.arena, (struct task *[]){ &f.task }, 1, &err),
	    -1);
	assert_string_equal(err.code, "TAIL");
	tear_down(&f);
}

static void
test_abandoned_ends_its_run(void **state)
{
	struct fixture f;
	struct item item;

	(void)state;
	set_up(&f, A_MESSAGE, "{}", 2);
	f.task.care = CARE_ABANDON;
	f.task.attempted = 1; /* in an item that was stale */
	f.task.refused = (struct error){ FAULT_INPUT, "POISON", "too often" };
	make(&f, &item);
	assert_int_equal(item.n_events, 2);
	assert_string_equal(item.events[1].type, "run.failed");
	assert_string_equal(item.status, "failed");
	assert_non_null(item.dead);
	assert_int_equal(f.task.attempted, 0);
	tear_down(&f);
}

static void
test_a_run_that_is_over(void **state)
{
	struct fixture f;
	struct item item;

	(void)state;
	set_up(&f, A_MESSAGE, "{}", 2);
	f.task.version = NULL;
	make(&f, &item);
	assert_int_equal(item.n_events, 0);
	assert_null(item.status);
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inlines_what_it_holds),
		cmocka_unit_test(test_sends_when_told_to),
		cmocka_unit_test(test_tail_is_younger),
		cmocka_unit_test(test_abandoned_ends_its_run),
		cmocka_unit_test(test_a_run_that_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
