/* When a rule would have fired, by what was measured. */
#include "cli/alert.h"
#include "cli/commands.h"
#include "cli/sql.h"
#include "core/time.h"
#include "monitor/rule/alert.h"

#include <string.h>

enum {
	DAY_MS = 86400000, /* ticks are kept so long, then minutes */
	TICKS = 1024,
	SERIES_MOST = 20000,
};

struct spell {
	struct alert alert;
	int64_t end_ms; /* 0: it still fires */
};

struct trial {
	struct session *s;
	struct arena store, steps[2];
	struct samples samples;
	struct alert_rule rule;
	const char *workflow; /* the rule is about its failed runs; or NULL */
	struct alerts now;
	struct spell *spells;
	uint32_t n_spells;
	uint64_t n_ticks;
};

/* The label of a metric's values isn't stored with them. */
static struct str
label_name(struct str metric, struct str value)
{
	static const struct {
		const char *metric, *label;
	} of[] = { { "oldest_age", "queue" }, { "workers_alive", "kind" },
		{ "runs_ended_total", "status" },
		{ "reconciled_total", "counter" },
		{ "upkeep_failing", "chore" }, { "slot_idle", "slot" },
		{ "delivery_failing", "channel" }, { "xmin_age", NULL },
		{ "xmin_age_seconds", NULL } };

	for (size_t i = 0; i < NELEM(of); i++) {
		if (!str_is(metric, of[i].metric))
			continue;
		if (of[i].label != NULL)
			return str_of(of[i].label);
		return value.n > 0 && value.s[0] >= '0' && value.s[0] <= '9'
		    ? STR("session")
		    : STR("slot");
	}
	return STR("table");
}

static void
sample(struct trial *t, struct str project, const struct json *data)
{
	for (uint32_t i = 0; i < data->n; i++) {
		struct str metric = data->of[i].key;
		const struct json *v = data->of[i].value;

		if (v->type == JSON_NUMBER)
			samples_set(
			    &t->samples, metric, project, NULL, 0, json_num(v));
		if (v->type != JSON_OBJECT)
			continue;
		for (uint32_t k = 0; k < v->n; k++) {
			struct label label = { label_name(metric, v->of[k].key),
				v->of[k].key };

			samples_set(&t->samples, metric, project, &label, 1,
			    json_num(v->of[k].value));
		}
	}
}

static int
same(const struct alert *x, const struct alert *y)
{
	if (x->n_labels != y->n_labels || !str_eq(x->project, y->project))
		return 0;
	for (uint32_t i = 0; i < x->n_labels; i++)
		if (!str_eq(x->labels[i].value, y->labels[i].value))
			return 0;
	return 1;
}

static void
spell_change(struct trial *t, const struct alert *x)
{
	struct arena *a = &t->s->cli->arena;

	if (x->state == ALERT_FIRING) {
		t->spells = arena_grow(a, t->spells, t->n_spells,
		    t->n_spells + 1, sizeof(*t->spells));
		t->spells[t->n_spells++] = (struct spell){ *x, 0 };
		return;
	}
	for (uint32_t i = t->n_spells; x->state == ALERT_RESOLVED && i-- > 0;)
		if (t->spells[i].end_ms == 0 && same(&t->spells[i].alert, x)) {
			t->spells[i].end_ms = samples_now(&t->samples);
			return;
		}
}

/* A column is whole. Strings of alerts are the samples'. */
static int
step(struct trial *t, struct error *err)
{
	struct arena *a = &t->steps[t->n_ticks++ % 2];
	struct alert_changes changes = { 0 };

	if (samples_now(&t->samples) == 0)
		return 0;
	arena_reset(a);
	if (alert_step(a, &t->rule, &t->samples, &t->now, &changes, err) < 0)
		return -1;
	for (uint32_t i = 0; i < changes.n; i++)
		if (!changes.items[i].gone)
			spell_change(t, &changes.items[i].alert);
	return 0;
}

static int
take_rows(struct trial *t, struct rows *rows, struct error *err)
{
	int64_t at = 0;
	int stale = 0;

	for (int i = 0; i < rows->n; i++) {
		struct str project = rows_str(rows, i, "project");
		int64_t ms = rows_time_ms(rows, i, "at");
		struct arena a;
		struct json *data;
		int r = 0;

		if (ms != at) {
			if (at != 0 && !stale && step(t, err) < 0)
				return -1;
			at = ms;
			stale = samples_tick(&t->samples, ms) != 0;
		}
		arena_init(&a);
		if (project.s == NULL)
			project = (struct str){ "", 0 };
		r = json_parse(&a, rows_str(rows, i, "data"), NULL, &data, err);
		if (r == 0 && !stale)
			sample(t, project, data);
		arena_deinit(&a);
		if (r < 0)
			return -1;
	}
	return at != 0 && !stale ? step(t, err) : 0;
}

/* Piece by piece, from so long ago until now. */
static int
run(struct trial *t, int64_t since_ms, struct error *err)
{
	int64_t now = time_wall_ms(),
		piece = since_ms <= DAY_MS ? 600000 : 21600000;
	const struct sql *sql =
	    since_ms <= DAY_MS ? &sql_alert_samples : &sql_alert_samples_minute;
	struct cond_metric *reads = NULL;
	size_t n = cond_metrics(&t->s->cli->arena, t->rule.cond, &reads, 0);
	struct db_array metrics;
	int r = 0;

	db_array_init(&metrics, DB_TEXT);
	for (size_t i = 0; i < n; i++) {
		db_array_str(&metrics, reads[i].name);
		if (t->rule.range_ms < reads[i].range_ms)
			t->rule.range_ms = reads[i].range_ms;
	}
	samples_init(&t->samples, &t->store, TICKS, SERIES_MOST,
	    since_ms <= DAY_MS ? 30000 : 210000);
	for (int64_t at = now - since_ms; r == 0 && at < now; at += piece) {
		struct rows rows = { 0 };

		r = SESSION_QUERY(t->s, sql, &rows, err,
		    db_time(db_time_from_ms(at)),
		    db_time(db_time_from_ms(at + piece)),
		    t->rule.project.n > 0 ? db_str(t->rule.project)
					  : db_null(DB_TEXT),
		    db_array(&metrics));
		if (r == 0)
			r = take_rows(t, &rows, err);
		rows_deinit(&rows);
	}
	db_array_deinit(&metrics);
	return r;
}

static const struct column columns[] = {
	{ "fired_at", "FIRED (UTC)", COLUMN_TIME },
	{ "resolved_at", "RESOLVED (UTC)", COLUMN_TIME },
	{ "seconds", "SECONDS", COLUMN_NUMBER },
	{ "value", "VALUE", COLUMN_NUMBER },
	{ "project", "PROJECT", COLUMN_TEXT },
	{ "labels", "LABELS", COLUMN_TEXT },
};

static void
print(struct trial *t)
{
	struct arena *a = &t->s->cli->arena;
	char text[TIME_TEXT];

	OUT_BEGIN(&t->s->cli->out, columns);
	for (uint32_t i = 0; i < t->n_spells; i++) {
		const struct spell *x = &t->spells[i];
		struct json *o = json_object(a), *labels = json_object(a);
		int64_t end =
		    x->end_ms != 0 ? x->end_ms : samples_now(&t->samples);

		for (uint32_t k = 0; k < x->alert.n_labels; k++)
			json_set_str(a, labels, x->alert.labels[k].name,
			    json_string(a, x->alert.labels[k].value));
		json_set(a, o, "fired_at",
		    json_cstring(a, time_format(x->alert.fired_ms, text)));
		json_set(a, o, "resolved_at",
		    x->end_ms == 0
			? NULL
			: json_cstring(a, time_format(x->end_ms, text)));
		json_set(a, o, "seconds",
		    json_int(a, (end - x->alert.fired_ms) / 1000));
		json_set(a, o, "value", json_double(a, x->alert.value));
		json_set(a, o, "project",
		    x->alert.project.n > 0 ? json_string(a, x->alert.project)
					   : NULL);
		json_set(a, o, "labels", labels);
		out_row(&t->s->cli->out, a, o);
	}
	out_end(&t->s->cli->out);
	session_note(t->s, "%u times, by %llu measurements.", t->n_spells,
	    (unsigned long long)t->n_ticks);
}

/* Of a rule about a workflow's failed runs: those there were. */
static int
print_failed(struct trial *t, int64_t since_ms, struct error *err)
{
	if (SESSION_LIST(t->s, columns, &sql_alert_failed, err,
		db_text(t->workflow), db_int8(since_ms)) < 0)
		return -1;
	session_note(t->s,
	    "Each failed run is told once, with its step, its error and a "
	    "link.");
	return 0;
}

/* The rule of that name, or what --condition says. */
static int
rule_read(struct trial *t, struct error *err)
{
	struct cli *cli = t->s->cli;
	const char *expr = cli_opt(cli, "condition");
	struct rows rows = { 0 };
	struct cond *cond;

	if ((cli->n_args > 0) == (expr != NULL))
		return usage(err,
		    "name a rule, or give a condition\n"
		    "as in: meshhook alert test backlog");
	t->rule.project = str_of(t->s->id);
	if (cli->n_args > 0) {
		if (SESSION_QUERY(t->s, &sql_alert_rule_find, &rows, err,
			alert_scope(t->s), db_text(cli->args[0])) < 0)
			return -1;
		if (rows.n == 0) {
			rows_deinit(&rows);
			return fail(err, FAULT_INPUT, "PT404",
			    "no rule \"%.63s\"\nlist them: meshhook alert "
			    "rules",
			    cli->args[0]);
		}
		expr = arena_strdup(&cli->arena, rows_text(&rows, 0, "expr"));
		t->rule.hold_ms = rows_int(&rows, 0, "hold_s") * 1000;
		t->rule.keep_ms = rows_int(&rows, 0, "keep_s") * 1000;
		if (rows_null(&rows, 0, "project_id"))
			t->rule.project = (struct str){ "", 0 };
		if (!rows_null(&rows, 0, "workflow_id"))
			t->workflow = arena_strdup(
			    &cli->arena, rows_text(&rows, 0, "workflow_id"));
		rows_deinit(&rows);
	}
	if (cli_opt_duration(cli, "for", 0, "30s, 5m", &t->rule.hold_ms, err) <
	    0)
		return -1;
	if (alert_condition(cli, expr, &cond, err) < 0)
		return -1;
	t->rule.cond = cond;
	return 0;
}

static int
test(struct session *s, struct error *err)
{
	struct trial t = { .s = s };
	int64_t ms = DAY_MS;
	int r;

	if (cli_opt_duration(s->cli, "since", 1, "2h, 7d", &ms, err) < 0)
		return -1;
	arena_init(&t.store);
	arena_init(&t.steps[0]);
	arena_init(&t.steps[1]);
	r = rule_read(&t, err);
	if (r == 0 && t.workflow != NULL)
		r = print_failed(&t, ms, err);
	else if (r == 0)
		r = run(&t, ms, err);
	if (r == 0 && t.workflow == NULL)
		print(&t);
	arena_deinit(&t.store);
	arena_deinit(&t.steps[0]);
	arena_deinit(&t.steps[1]);
	return r;
}

static const struct opt opts[] = {
	{ .name = "since", .arg = "DURATION", .help = "how far back; 1d" },
	{ .name = "condition",
	    .arg = "CONDITION",
	    .help = "in place of a rule's" },
	{ .name = "for",
	    .arg = "DURATION",
	    .help = "it holds so long before it fires" },
	ALERT_INSTALLATION,
	{ .name = NULL },
};
static const struct example examples[] = {
	{ "alert test backlog --since 7d", "how often, and for how long" },
	{ "alert test --condition 'queue_visible > 100' --for 1m",
	    "before it is a rule" },
	{ NULL, NULL },
};
const struct cmd cmd_alert_test_entry = {
	.noun = "alert",
	.verb = "test",
	.args = "[RULE]",
	.help = "when would a rule have fired?",
	.text = "Judges what was measured as the monitor would have: by tick "
		"for up to a day, beyond that by minute. Nobody is told.",
	.opts = opts,
	.examples = examples,
	.settings = ALERT_SETTINGS,
	.formats = OUT_RECORDS,
	.format = OUT_TABLE,
	.max_args = 1,
	.open = alert_open,
	.run = test,
};
