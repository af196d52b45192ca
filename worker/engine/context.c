#include "worker/engine/item.h"

#include "core/time.h"

static struct json *
run_json(struct arena *a, const struct task *t)
{
	struct json *o = json_object(a);
	char id[UUID_TEXT], at[TIME_TEXT];

	json_set(a, o, "id", json_cstring(a, uuid_format(&t->run, id)));
	json_set(a, o, "workflow", json_string(a, t->version->workflow));
	json_set(a, o, "version", json_int(a, t->version->number));
	json_set(a, o, "started_at",
	    json_cstring(a, time_format(db_time_to_ms(t->started_us), at)));
	json_set(a, o, "trigger", json_string(a, t->trigger));
	return o;
}

/* What the message asked for and the slice doesn't hold has no output. */
void
context_of(struct arena *a, const struct task *t, struct context *out)
{
	const struct json *ids = json_get(t->json, "o");
	const struct json *outputs = json_get(t->slice, "outputs");
	const struct flow *flow = t->version->flow;
	uint32_t n = ids != NULL ? ids->n : 0;
	uint32_t *which = arena_array(a, n, sizeof(*which));
	const struct json **values = arena_array(a, n, sizeof(*values));
	uint32_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct str id = json_str(json_at(ids, i));
		int32_t node = flow_find(flow, id);

		if (node < 0)
			continue;
		which[at] = (uint32_t)node;
		values[at++] = json_get_str(outputs, id);
	}
	*out = (struct context){
		.input = json_is(json_get(t->json, "i"), JSON_TRUE)
		    ? json_get(t->slice, "input")
		    : NULL,
		.run = run_json(a, t),
		.which = which,
		.outputs = values,
		.n_outputs = at,
	};
}
