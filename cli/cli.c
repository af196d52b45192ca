#include "cli/cli.h"
#include "core/buf.h"
#include "core/json.h"
#include "core/time.h"
#include "core/uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_MAX = 64 << 20 };

const char *
cli_opt(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->n_opts; i++) {
		if (strcmp(cli->opts[i].name, name) == 0)
			return cli->given[i];
	}
	return NULL;
}

int
cli_opt_int(const struct cli *cli, const char *name, int64_t min, int64_t max,
    int64_t *out, struct error *err)
{
	const char *text = cli_opt(cli, name);
	int64_t v;
	char *end;

	if (text == NULL)
		return 0;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0')
		return usage(
		    err, "--%s: \"%.60s\" is no whole number", name, text);
	if (v < min || v > max)
		return usage(err, "--%s: %s is not between %lld and %lld", name,
		    text, (long long)min, (long long)max);
	*out = v;
	return 0;
}

int
cli_opt_duration(const struct cli *cli, const char *name, int64_t least_ms,
    const char *such_as, int64_t *out, struct error *err)
{
	const char *text = cli_opt(cli, name);
	int64_t ms;

	if (text == NULL)
		return 0;
	if (duration_parse(str_of(text), &ms) < 0 || ms < least_ms)
		return usage(err, "--%s: \"%.80s\" is no duration\nsuch as %s",
		    name, text, such_as);
	*out = ms;
	return 0;
}

int
cli_id(const char *text, const char *what, const char *list, struct error *err)
{
	struct uuid id;

	if (uuid_parse(str_of(text), &id) == 0)
		return 0;
	return usage(err, "\"%.80s\" is no %s's id\nlist them: meshhook %s",
	    text, what, list);
}

int
usage(struct error *err, const char *fmt, ...)
{
	char text[sizeof(err->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail(err, FAULT_CONFIG, "USAGE", "%s", text);
}

static int
read_all(int fd, struct buf *b)
{
	ssize_t n;

	do {
		buf_reserve(b, 65536);
		n = read(fd, b->bytes + b->len, 65536);
		if (n > 0)
			b->len += (size_t)n;
	} while ((n > 0 && b->len <= READ_MAX) || (n < 0 && errno == EINTR));
	return n < 0 ? -1 : 0;
}

int
cli_read(struct cli *cli, const char *path, struct str *out, struct error *err)
{
	int in = strcmp(path, "-") == 0;
	int fd = in ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	struct buf b;
	int r = 0;

	if (fd < 0)
		return fail(
		    err, FAULT_INPUT, "READ", "%s: %s", path, strerror(errno));
	buf_init(&b);
	if (read_all(fd, &b) < 0)
		r = fail(err, FAULT_INPUT, "READ", "%s: %s",
		    in ? "standard input" : path, strerror(errno));
	else if (b.len > READ_MAX)
		r = fail(err, FAULT_INPUT, "READ", "%s: larger than 64 MiB",
		    in ? "standard input" : path);
	else
		*out = arena_str(&cli->arena, buf_str(&b));
	buf_deinit(&b);
	if (!in)
		close(fd);
	return r;
}

int
cli_read_json(
    struct cli *cli, const char *path, struct json **out, struct error *err)
{
	struct str text = { 0 };

	if (cli_read(cli, path, &text, err) < 0)
		return -1;
	if (json_parse(&cli->arena, text, NULL, out, err) < 0)
		return fail_in(
		    err, strcmp(path, "-") == 0 ? "standard input" : path);
	return 0;
}

const char *
cmd_name(struct arena *a, const struct cmd *cmd)
{
	return cmd->verb != NULL
	    ? arena_printf(a, "%s %s", cmd->noun, cmd->verb)
	    : cmd->noun;
}
