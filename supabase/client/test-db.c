/* Against a real Postgres: SUPABASE_DB_URL, else skipped. */
#include "supabase/client/db.h"
#include "core/test.h"

#include <stdio.h>
#include <stdlib.h>

static const char *url;

struct world {
	struct loop *loop;
	struct db *db;
	int sent, ended, failed, ready;
	int64_t sum;
	struct error last;
};

#define SQL(text_) (&(const struct sql){ "test", text_ })

static void
state_changed(void *arg, enum db_state state, const struct error *err)
{
	struct world *w = arg;

	(void)err;
	w->ready += state == DB_READY;
}

static struct world
world_new(void)
{
	return (struct world){ .loop = loop_new(NULL) };
}

static void
world_connect(struct world *w)
{
	struct db_options o = {
		.url = url, .on_state = state_changed, .arg = w
	};

	w->db = db_new(w->loop, &o, NULL);
	assert_non_null(w->db);
}

/* The same, and wait until it is there. */
static void
world_connected(struct world *w)
{
	struct rows r;
	struct error err;

	world_connect(w);
	assert_int_equal(db_query(w->db, SQL("select 1"), &r, &err), 0);
	rows_deinit(&r);
}

static void
world_end(struct world *w)
{
	w->db = db_free(w->db);
	w->loop = loop_free(w->loop);
}

static void
test_bad_urls(void **state)
{
	static const char *const bad[] = { "", "hunter2secret",
		"postgresql://u:hunter2secret@h:x/db?nope=1",
		"host=h password hunter2secret",
		"postgresql://u:hunter2secret%zz@h/" };
	struct world w = world_new();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct db_options o = { .url = bad[i] };
		struct error err;

		assert_null(db_new(w.loop, &o, &err));
		assert_int_equal(err.fault, FAULT_CONFIG);
		assert_null(strstr(err.text, "hunter2"));
	}
	world_end(&w);
}

static void
test_refused(void **state)
{
	static const struct {
		const char *url, *code;
		enum fault fault;
	} cases[] = {
		{ "postgresql://u:hunter2@127.0.0.1:1/x", "08001",
		    FAULT_RETRY },
		{ "postgresql://u:hunter2@no-such-host.invalid/x", "08001",
		    FAULT_RETRY },
	};
	struct error err;
	struct rows rows;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct world w = world_new();
		struct db_options o = { .url = cases[i].url };

		w.db = db_new(w.loop, &o, &err);
		assert_int_equal(
		    db_query(w.db, SQL("select 1"), &rows, &err), -1);
		assert_string_equal(err.code, cases[i].code);
		assert_int_equal(err.fault, cases[i].fault);
		assert_null(strstr(err.text, "hunter2"));
		world_end(&w);
	}
}

static void
test_wrong_password(void **state)
{
	struct world w = world_new();
	struct db_options o = { 0 };
	struct error err;
	struct rows rows;
	char *wrong = strdup(url), *at = strchr(wrong, '@');

	(void)state;
	at[-1] ^= 1;
	o.url = wrong;
	w.db = db_new(w.loop, &o, &err);
	assert_int_equal(db_query(w.db, SQL("select 1"), &rows, &err), -1);
	assert_string_equal(err.code, "28P01");
	assert_int_equal(err.fault, FAULT_CONFIG);
	world_end(&w);
	free(wrong);
}

static void
test_types(void **state)
{
	static const char text[] =
	    "select $1::int4 i4, $2::int8 i8, $3::bool b, $4::text t,"
	    " $5::jsonb j, $6::uuid u, $7::timestamptz ts, $8::text none,"
	    " $7::timestamptz = '1999-12-31 23:59:59.5+00' same, 2.5::float8 d,"
	    " $5::jsonb ->> 'a' a, (-3)::int2 i2";
	struct world w = world_new();
	struct uuid id, back;
	struct error err;
	struct rows r;

	(void)state;
	world_connect(&w);
	uuid_random(&id);
	assert_int_equal(db_query(w.db, SQL(text), &r, &err, db_int4(-7),
			     db_int8(INT64_C(-5000000000)), db_bool(1),
			     db_text("h\xc3\xa4"), db_jsonb(STR("{\"a\": 1}")),
			     db_uuid(&id), db_time(-500000), db_text(NULL)),
	    0);
	assert_int_equal(r.n, 1);
	assert_int_equal(rows_int(&r, 0, "i4"), -7);
	assert_true(rows_int(&r, 0, "i8") == INT64_C(-5000000000));
	assert_true(rows_bool(&r, 0, "b"));
	assert_string_equal(rows_text(&r, 0, "t"), "h\xc3\xa4");
	assert_string_equal(rows_text(&r, 0, "j"), "{\"a\": 1}");
	assert_int_equal(rows_uuid(&r, 0, "u", &back), 0);
	assert_int_equal(uuid_cmp(&id, &back), 0);
	assert_true(rows_time(&r, 0, "ts") == -500000);
	assert_true(rows_time_ms(&r, 0, "ts") == INT64_C(946684799500));
	assert_true(rows_null(&r, 0, "none"));
	assert_null(rows_text(&r, 0, "none"));
	assert_true(rows_bool(&r, 0, "same"));
	assert_true(rows_double(&r, 0, "d") > 2.4);
	assert_string_equal(rows_text(&r, 0, "a"), "1");
	assert_int_equal(rows_int(&r, 0, "i2"), -3);
	rows_deinit(&r);
	world_end(&w);
}

static void
test_arrays(void **state)
{
	static const char text[] =
	    "select ($1::uuid[])::text u, ($2::int4[])::text i,"
	    " ($3::int8[])::text l, ($4::int2[])::text s, ($5::text[])::text t,"
	    " ($6::jsonb[])::text j, ($7::timestamptz[])[1]"
	    " = '2000-01-01 00:00:01+00' ts, ($8::bool[])::text b,"
	    " cardinality($9::int4[]) n";
	static const enum db_type types[9] = { DB_UUID, DB_INT4, DB_INT8,
		DB_INT2, DB_TEXT, DB_JSONB, DB_TIMESTAMPTZ, DB_BOOL, DB_INT4 };
	struct db_array a[9];
	struct db_param p[10] = { 0 };
	struct world w = world_new();
	struct uuid id = { { 0 } };
	struct rows r;
	struct error err;

	(void)state;
	world_connect(&w);
	for (int i = 0; i < 9; i++)
		db_array_init(&a[i], types[i]);
	db_array_uuid(&a[0], &id);
	db_array_null(&a[0]);
	db_array_int4(&a[1], -1);
	db_array_null(&a[1]);
	db_array_int4(&a[1], 2);
	db_array_int8(&a[2], INT64_MIN);
	db_array_int2(&a[3], -2);
	db_array_str(&a[4], STR(""));
	db_array_str(&a[4], (struct str){ NULL, 0 });
	db_array_str(&a[4], STR("a,b"));
	db_array_jsonb(&a[5], STR("[1]"));
	db_array_jsonb(&a[5], (struct str){ NULL, 0 });
	db_array_time(&a[6], 1000000);
	db_array_bool(&a[7], 1);
	db_array_bool(&a[7], 0);
	for (int i = 0; i < 9; i++)
		p[i] = db_array(&a[i]);
	assert_int_equal(db_query_params(w.db, SQL(text), p, &r, &err), 0);
	assert_string_equal(rows_text(&r, 0, "u"),
	    "{00000000-0000-0000-0000-000000000000,NULL}");
	assert_string_equal(rows_text(&r, 0, "i"), "{-1,NULL,2}");
	assert_string_equal(rows_text(&r, 0, "l"), "{-9223372036854775808}");
	assert_string_equal(rows_text(&r, 0, "s"), "{-2}");
	assert_string_equal(rows_text(&r, 0, "t"), "{\"\",NULL,\"a,b\"}");
	assert_string_equal(rows_text(&r, 0, "j"), "{[1],NULL}");
	assert_true(rows_bool(&r, 0, "ts"));
	assert_string_equal(rows_text(&r, 0, "b"), "{t,f}");
	assert_int_equal(rows_int(&r, 0, "n"), 0);
	rows_deinit(&r);
	for (int i = 0; i < 9; i++)
		db_array_deinit(&a[i]);
	world_end(&w);
}

/* Answers come in order; what fails, fails alone. */
static void
counted(void *arg, struct rows *rows, const struct error *err)
{
	struct world *w = arg;

	if (err != NULL) {
		w->failed++;
		w->last = *err;
	} else {
		assert_int_equal(rows_int(rows, 0, "n"), w->ended);
		w->sum += rows_int(rows, 0, "n");
	}
	if (++w->ended == 1000)
		loop_stop(w->loop, 0);
}

static void
test_pipeline(void **state)
{
	struct world w = world_new();
	struct error err;

	(void)state;
	world_connected(&w);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(
		    db_call(w.db,
			i == 500 ? SQL("select 1 / ($1 - 500) n, repeat('x', "
				       "2000)")
				 : SQL("select $1::int4 n, repeat('x', 2000)"),
			counted, &w, &err, db_int4(i)),
		    0);
	assert_int_equal(w.ended, 0);
	assert_int_equal(db_outstanding(w.db), 1000);
	loop_run(w.loop);
	assert_int_equal(w.ended, 1000);
	assert_int_equal(w.failed, 1);
	assert_string_equal(w.last.code, "22012");
	assert_int_equal(w.last.fault, FAULT_INPUT);
	assert_int_equal(w.sum, 999 * 500 - 500);
	world_end(&w);
}

static void
noted(void *arg, struct rows *rows, const struct error *err)
{
	struct world *w = arg;

	(void)rows;
	w->ended++;
	if (err != NULL) {
		w->failed++;
		w->last = *err;
	}
}

/* What fails when it is committed has failed, though its result came first. */
static void
test_fails_at_commit(void **state)
{
	struct world w = world_new();
	struct rows r;
	struct error err;

	(void)state;
	world_connect(&w);
	assert_int_equal(
	    db_query(w.db,
		SQL("create temp table late (n int unique deferrable "
		    "initially deferred)"),
		&r, &err),
	    0);
	rows_deinit(&r);
	assert_int_equal(
	    db_query(w.db, SQL("insert into late values (1), (1)"), &r, &err),
	    -1);
	assert_string_equal(err.code, "23505");
	/* the group fails as a whole, what follows it does not */
	db_begin(w.db);
	db_call(w.db, SQL("insert into late values (2)"), noted, &w, &err);
	db_call(w.db, SQL("insert into late values (2)"), noted, &w, &err);
	db_end(w.db);
	assert_int_equal(
	    db_query(w.db, SQL("select count(*) n from late"), &r, &err), 0);
	assert_int_equal(rows_int(&r, 0, "n"), 0);
	rows_deinit(&r);
	assert_int_equal(w.ended, 2);
	assert_int_equal(w.failed, 2);
	assert_string_equal(w.last.code, "23505");
	db_begin(w.db);
	db_call(w.db, SQL("select 1 / 0"), noted, &w, &err);
	db_call(w.db, SQL("select 1"), noted, &w, &err);
	db_end(w.db);
	assert_int_equal(db_query(w.db, SQL("select 1"), &r, &err), 0);
	rows_deinit(&r);
	assert_int_equal(w.failed, 4);
	assert_string_equal(w.last.code, "25P02");
	world_end(&w);
}

static void
test_killed_backend(void **state)
{
	struct world w = world_new();
	struct rows r;
	struct error err;

	(void)state;
	world_connected(&w);
	db_call(w.db, SQL("select pg_terminate_backend(pg_backend_pid())"),
	    noted, &w, &err);
	db_call(w.db, SQL("select 1"), noted, &w, &err);
	while (w.ready < 2) {
		/* waits for the new connection, or fails with the old one */
		if (db_query(w.db, SQL("select 1"), &r, &err) == 0)
			rows_deinit(&r);
	}
	assert_int_equal(w.ended, 2);
	assert_true(w.failed >= 1);
	assert_string_equal(w.last.code, "08006");
	assert_int_equal(w.last.fault, FAULT_RETRY);
	world_end(&w);
}

/* Sends more when its backend is gone and that isn't known yet. */
static void
cut_off(void *arg, struct rows *rows, const struct error *err)
{
	struct world *w = arg, other = world_new();
	struct error e;
	struct rows r;

	assert_null(err);
	world_connect(&other);
	assert_int_equal(
	    db_query(other.db, SQL("select pg_terminate_backend($1, 30000)"),
		&r, &e, db_int4((int)rows_int(rows, 0, "pid"))),
	    0);
	rows_deinit(&r);
	world_end(&other);
	for (int i = 0; i < 20; i++)
		w->sent += db_call(w->db, SQL("select 1"), noted, w, &e) == 0;
}

static void
test_breaks_while_answers_are_read(void **state)
{
	struct world w = world_new();
	struct error err;
	struct rows r;

	(void)state;
	world_connected(&w);
	db_call(w.db, SQL("select pg_backend_pid() as pid"), cut_off, &w, &err);
	db_call(w.db, SQL("select 1"), noted, &w, &err);
	while (w.ready < 2)
		if (db_query(w.db, SQL("select 1"), &r, &err) == 0)
			rows_deinit(&r);
	assert_true(w.sent > 0); /* none any more once it is known */
	assert_int_equal(w.ended, w.sent + 1);
	assert_true(w.failed >= w.sent);
	assert_string_equal(w.last.code, "08006");
	world_end(&w);
}

static void
heard(void *arg, const char *channel, const char *payload)
{
	struct world *w = arg;

	if (channel == NULL)
		return;
	assert_string_equal(channel, "meshhook_test");
	/* stops nothing: that would interrupt a db_query under way */
	w->ended = (int)strtol(payload, NULL, 10);
}

static void
look(void *arg)
{
	struct world *w = arg;

	loop_stop(w->loop, 0);
}

static void
test_listen(void **state)
{
	static const char *const channels[] = { "meshhook_test", NULL };
	struct world w = world_new();
	struct listen_options o = { .db = { .url = url },
		.channels = channels,
		.fn = heard,
		.arg = &w };
	struct loop_timer *timer = loop_timer_new(w.loop, look, &w);
	struct listen *l;
	struct rows r;
	struct error err;

	(void)state;
	world_connect(&w);
	o.via = w.db;
	l = listen_new(w.loop, &o, &err);
	loop_timer_every(timer, 20);
	while (!listen_works(l))
		loop_run(w.loop);
	loop_timer_clear(timer);
	assert_int_equal(
	    db_query(
		w.db, SQL("select pg_notify('meshhook_test', '42')"), &r, &err),
	    0);
	rows_deinit(&r);
	loop_timer_every(timer, 20);
	while (w.ended != 42)
		loop_run(w.loop);
	timer = loop_timer_free(timer);
	l = listen_free(l);
	world_end(&w);
}

/* Done functions may free the db. */
static void
freed_within(void *arg, struct rows *rows, const struct error *err)
{
	struct world *w = arg;

	(void)rows;
	(void)err;
	w->ended++;
	w->db = db_free(w->db);
	loop_stop(w->loop, 0);
}

static void
test_free_within(void **state)
{
	struct world w = world_new();
	struct error err;

	(void)state;
	world_connected(&w);
	for (int i = 0; i < 3; i++)
		db_call(w.db, SQL("select 1"), freed_within, &w, &err);
	loop_run(w.loop);
	assert_int_equal(w.ended, 1);
	world_end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_wrong_password),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_pipeline),
		cmocka_unit_test(test_fails_at_commit),
		cmocka_unit_test(test_killed_backend),
		cmocka_unit_test(test_breaks_while_answers_are_read),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_free_within),
	};

	url = getenv("SUPABASE_DB_URL");
	if (url == NULL) {
		puts("skipped: SUPABASE_DB_URL is not set");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
