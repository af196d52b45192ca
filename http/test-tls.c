/* TLS as it is out there: tests/target with a certificate made for this run. */
#include "core/mem.h"
#include "http/test-caller.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char dir[] = "/tmp/meshhook-tls-XXXXXX";
static char cert[64], key[64], other_cert[64], other_key[64];
static pid_t target;
static int target_port;

/* The exit status, or -1. */
static int
run(char *const argv[])
{
	pid_t pid;
	int status;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		return -1;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int
make_cert(char *cert_file, char *key_file, const char *name)
{
	char subject[64], alt[64];

	snprintf(subject, sizeof(subject), "/CN=%s", name);
	snprintf(alt, sizeof(alt), "subjectAltName=DNS:%s", name);
	return run((char *[]){ "openssl", "req", "-x509", "-batch", "-newkey",
	    "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
	    "-subj", subject, "-addext", alt, "-keyout", key_file, "-out",
	    cert_file, NULL });
}

/* Start the target and read its port off its first line; -1 if it can't. */
static int
start_target(void)
{
	char *argv[] = { "node", TARGET, "--tls-cert", cert, "--tls-key", key,
		NULL };
	posix_spawn_file_actions_t actions;
	int fds[2], r;
	char line[200] = "";
	const char *port;
	FILE *f;

	if (pipe(fds) < 0)
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, fds[0]);
	r = posix_spawnp(&target, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	f = fdopen(fds[0], "r");
	if (r == 0 && fgets(line, sizeof(line), f) != NULL &&
	    (port = strstr(line, "\"port\":")) != NULL)
		target_port = (int)strtol(port + 7, NULL, 10);
	fclose(f);
	return target_port > 0 ? 0 : -1;
}

static int
start(void)
{
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	snprintf(other_cert, sizeof(other_cert), "%s/other.pem", dir);
	snprintf(other_key, sizeof(other_key), "%s/other-key.pem", dir);
	if (make_cert(cert, key, "localhost") != 0 ||
	    make_cert(other_cert, other_key, "localhost") != 0)
		return -1;
	return start_target();
}

static void
stop(void)
{
	if (target > 0) {
		kill(target, SIGTERM);
		waitpid(target, NULL, 0);
	}
	unlink(cert);
	unlink(key);
	unlink(other_cert);
	unlink(other_key);
	rmdir(dir);
}

/* A call to the target by this name, trusting this file. */
static const struct got *
call(struct caller *c, const char *scheme, const char *host, const char *ca)
{
	char url[200];

	guard_deinit(&c->guard);
	guard_init(&c->guard, "127.0.0.0/8,::1/128", &c->err);
	caller_renew(c, (struct http_options){ .ca_file = ca });
	snprintf(url, sizeof(url), "%s://%s:%d/x", scheme, host, target_port);
	return caller_get(c, url);
}

static void
test_unknown_authority(void **state)
{
	const struct got *got = call(*state, "https", "localhost", NULL);

	assert_int_equal(got->outcome, HTTP_TLS);
	assert_string_equal(got->code, "TLS");
	assert_int_equal(got->res.error.fault, FAULT_INPUT);
	assert_int_equal(got->retry.cause, RETRY_NEVER);
	assert_int_equal(got->res.sent_us, 0);
	got = call(*state, "https", "localhost", other_cert);
	assert_int_equal(got->outcome, HTTP_TLS);
}

static void
test_wrong_name(void **state)
{
	const struct got *got = call(*state, "https", "127.0.0.1", cert);

	assert_int_equal(got->outcome, HTTP_TLS);
	assert_int_equal(got->res.sent_us, 0);
}

static void
test_trusted_over_http2(void **state)
{
	struct caller *c = *state;
	const struct got *got = call(c, "https", "localhost", cert);
	struct http_request req = {
		.method = STR("POST"), .url = str_of(c->url), .body = STR("{}")
	};

	assert_int_equal(got->outcome, HTTP_ANSWERED);
	assert_int_equal(got->res.status, 200);
	assert_int_equal(got->res.http_version, 20);
	assert_true(got->res.timing.tls > got->res.timing.connect);
	c->stop_after = got->n + 100;
	for (int i = 0; i < 100; i++)
		assert_non_null(
		    http_call_start(c->http, &req, caller_done, c, &c->err));
	caller_wait(c);
	assert_int_equal(c->got.n, c->stop_after);
	assert_int_equal(c->got.res.status, 200);
}

static void
test_wrong_protocol(void **state)
{
	struct caller *c = *state;
	const struct got *got = call(c, "http", "localhost", cert);

	assert_true(got->outcome == HTTP_BROKEN || got->res.status == 400 ||
	    got->res.status == 403);
	got = call(c, "https", "localhost", cert);
	assert_int_equal(got->outcome, HTTP_ANSWERED);
}

static void
test_missing_ca_file(void **state)
{
	struct caller *c = *state;

	assert_null(http_new(c->loop,
	    &(struct http_options){ .ca_file = "/no/such/file" }, &c->err));
	assert_int_equal(c->err.fault, FAULT_CONFIG);
	assert_non_null(strstr(c->err.text, "/no/such/file"));
}

#define WITH_CALLER(test)                                                      \
	cmocka_unit_test_setup_teardown(test, caller_setup, caller_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CALLER(test_unknown_authority),
		WITH_CALLER(test_wrong_name),
		WITH_CALLER(test_trusted_over_http2),
		WITH_CALLER(test_wrong_protocol),
		WITH_CALLER(test_missing_ca_file),
	};
	int r;

	if (start() < 0) {
		stop();
		printf("skipped: needs openssl and node\n");
		return 77;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	stop();
	return r;
}
