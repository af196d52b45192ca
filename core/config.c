#include "core/config.h"
#include "core/harden.h"
#include "core/mem.h"
#include "core/suggest.h"
#include "core/time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "MESHHOOK_"

enum { SECRET_MAX = 65536 };

/* Of scripts, tests and benches; not ours to judge. */
static const char *const foreign[] = {
	"MESHHOOK_STACK_",
	"MESHHOOK_TEST",
	"MESHHOOK_BENCH_",
	"MESHHOOK_BIN",
	"MESHHOOK_RELEASE_BIN",
	"MESHHOOK_CONFORMANCE",
};

void
config_init(struct config *c)
{
	*c = (struct config){ 0 };
	arena_init(&c->arena);
	for (int i = SETTING_NONE + 1; i < N_SETTINGS; i++) {
		const struct setting *s = &settings[i];

		if (s->preset != NULL)
			config_set(
			    c, (enum setting_id)i, s->preset, "preset", NULL);
	}
}

void
config_deinit(struct config *c)
{
	for (int i = SETTING_NONE + 1; i < N_SETTINGS; i++) {
		const char *text = c->values[i].text;

		if (settings[i].secret && text != NULL)
			explicit_bzero((char *)text, strlen(text));
	}
	arena_deinit(&c->arena);
	*c = (struct config){ 0 };
}

static int bad(struct error *err, const char *from, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
bad(struct error *err, const char *from, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail(err, FAULT_CONFIG, "CONFIG", "%s: %s", from, text);
}

/* The index of text in "a|b|c", or -1. */
static int
choice(const char *choices, const char *text)
{
	size_t n = strlen(text);

	for (int i = 0; *choices != '\0'; i++) {
		size_t len = strcspn(choices, "|");

		if (len == n && memcmp(choices, text, n) == 0)
			return i;
		choices += len;
		choices += *choices == '|';
	}
	return -1;
}

static int
set_choice(const struct setting *s, const char *text, const char *from,
    int64_t *number, struct error *err)
{
	struct suggest near;

	*number = choice(s->choices, text);
	if (*number >= 0)
		return 0;
	suggest_init(&near, str_of(text));
	for (const char *p = s->choices; *p != '\0';) {
		size_t n = strcspn(p, "|");

		suggest_add(&near, (struct str){ p, n });
		p += n + (p[n] == '|');
	}
	if (near.best.s != NULL)
		return bad(err, from,
		    "\"%.80s\" is none of %s; did you mean \"%.*s\"?", text,
		    s->choices, STR_FMT(near.best));
	return bad(err, from, "\"%.80s\" is none of %s", text, s->choices);
}

static int
set_int(const struct setting *s, const char *text, const char *from,
    int64_t *number, struct error *err)
{
	char *end;

	errno = 0;
	*number = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || *text == ' ')
		return bad(err, from, "\"%.80s\" is no whole number", text);
	if (*number < s->min || *number > s->max)
		return bad(err, from, "%s is not between %lld and %lld", text,
		    (long long)s->min, (long long)s->max);
	return 0;
}

static int
set_bool(const char *text, const char *from, int64_t *number, struct error *err)
{
	static const char yes[] = "on|true|yes|1", no[] = "off|false|no|0";

	*number = choice(yes, text) >= 0;
	if (*number || choice(no, text) >= 0)
		return 0;
	return bad(err, from, "\"%.80s\" is neither on nor off", text);
}

static int
set_ms(const struct setting *s, const char *text, const char *from,
    int64_t *number, struct error *err)
{
	char least[TIME_TEXT], most[TIME_TEXT];

	if (duration_parse(str_of(text), number) < 0)
		return bad(err, from,
		    "\"%.80s\" is no duration such as 250ms, 30s or 5m", text);
	if (*number < s->min || *number > s->max)
		return bad(err, from, "%s is not between %s and %s", text,
		    duration_format(s->min, least),
		    duration_format(s->max, most));
	return 0;
}

/* "KEY" or "id:KEY,id:KEY,..."; 43 base64 digits hold 32 bytes. The value
 * itself is never repeated. */
static int
set_key(const char *text, const char *from, struct error *err)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = text;

	for (;;) {
		size_t id = strcspn(p, ":,");

		if (p[id] == ':')
			p += id + 1;
		if (strspn(p, digits) != 43)
			break;
		p += 43;
		p += *p == '=';
		if (*p == '\0')
			return 0;
		if (*p++ != ',')
			break;
	}
	return bad(err, from,
	    "not 32 bytes in base64; make one with: openssl rand -base64 32");
}

static int
set_url(const char *text, const char *from, struct error *err)
{
	if (strncmp(text, "postgresql://", 13) == 0 ||
	    strncmp(text, "postgres://", 11) == 0 || strchr(text, '=') != NULL)
		return 0;
	return bad(err, from,
	    "not of the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE");
}

int
config_set(struct config *c, enum setting_id id, const char *text,
    const char *from, struct error *err)
{
	const struct setting *s = &settings[id];
	int64_t number = 0;
	int r = 0;

	switch (s->type) {
	case SETTING_TEXT:
		break;
	case SETTING_URL:
		r = set_url(text, from, err);
		break;
	case SETTING_KEY:
		r = set_key(text, from, err);
		break;
	case SETTING_INT:
		r = set_int(s, text, from, &number, err);
		break;
	case SETTING_BOOL:
		r = set_bool(text, from, &number, err);
		break;
	case SETTING_MS:
		r = set_ms(s, text, from, &number, err);
		break;
	case SETTING_CHOICE:
		r = set_choice(s, text, from, &number, err);
		break;
	}
	if (r < 0)
		return -1;
	c->values[id].text = arena_strdup(&c->arena, text);
	c->values[id].number = number;
	return 0;
}

static int
read_secret(const char *path, char *out, const char *from, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : 0;
	size_t len = 0;

	while (fd >= 0 && len < SECRET_MAX &&
	    (n = read(fd, out + len, SECRET_MAX - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		bad(err, from, "can't read %.120s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return -1;
	if (len == SECRET_MAX || memchr(out, '\0', len) != NULL)
		return bad(err, from, "%.120s is not a file of one line", path);
	while (len > 0 && (out[len - 1] == '\n' || out[len - 1] == '\r'))
		len--;
	out[len] = '\0';
	if (len == 0)
		return bad(err, from, "%.120s is empty", path);
	return 0;
}

/* Does name say setting s, itself (1) or by its alias (2), or its file (3)? */
static int
names_setting(const struct setting *s, struct str name)
{
	size_t n = strlen(s->env);

	if (str_is(name, s->env))
		return 1;
	if (s->alias != NULL && str_is(name, s->alias))
		return 2;
	if (s->secret && name.n == n + 5 && memcmp(name.s, s->env, n) == 0 &&
	    memcmp(name.s + n, "_FILE", 5) == 0)
		return 3;
	return 0;
}

static int
load_file(struct config *c, enum setting_id id, const char *path,
    const char *from, struct error *err)
{
	char *text = xmalloc(SECRET_MAX + 1);
	int r = read_secret(path, text, from, err);

	if (r == 0)
		r = config_set(c, id, text, from, err);
	explicit_bzero(text, SECRET_MAX);
	free(text);
	return r;
}

static int
unknown(struct str name, struct error *err)
{
	struct suggest near;

	for (size_t i = 0; i < NELEM(foreign); i++) {
		if (strncmp(name.s, foreign[i], strlen(foreign[i])) == 0)
			return 0;
	}
	suggest_init(&near, name);
	for (int i = SETTING_NONE + 1; i < N_SETTINGS; i++)
		suggest_add(&near, str_of(settings[i].env));
	if (near.best.s != NULL)
		return fail(err, FAULT_CONFIG, "CONFIG",
		    "%.*s: no such setting; did you mean %.*s?",
		    (int)(name.n < 80 ? name.n : 80), name.s,
		    STR_FMT(near.best));
	return fail(err, FAULT_CONFIG, "CONFIG",
	    "%.*s: no such setting; all: meshhook help --configuration",
	    (int)(name.n < 80 ? name.n : 80), name.s);
}

/* said[id]: how the environment gave it so far (as names_setting). */
static int
load_one(struct config *c, struct str name, const char *value,
    unsigned char said[N_SETTINGS], struct error *err)
{
	char from[96];

	for (int i = SETTING_NONE + 1; i < N_SETTINGS; i++) {
		int how = names_setting(&settings[i], name);

		if (how == 0)
			continue;
		snprintf(from, sizeof(from), "%.*s", STR_FMT(name));
		if ((how == 1 && said[i] == 3) || (how == 3 && said[i] == 1))
			return bad(err, settings[i].env,
			    "given both by itself and by %s_FILE",
			    settings[i].env);
		if (how == 2 && said[i] != 0)
			return 0; /* our own name is the stronger */
		said[i] = (unsigned char)how;
		if (how == 3)
			return load_file(
			    c, (enum setting_id)i, value, from, err);
		return config_set(c, (enum setting_id)i, value, from, err);
	}
	if (name.n > strlen(PREFIX) &&
	    memcmp(name.s, PREFIX, strlen(PREFIX)) == 0)
		return unknown(name, err);
	return 0;
}

int
config_load(struct config *c, char **env, struct error *err)
{
	unsigned char said[N_SETTINGS] = { 0 };

	for (; *env != NULL; env++) {
		const char *eq = strchr(*env, '=');

		if (eq == NULL || eq[1] == '\0')
			continue;
		if (load_one(c, (struct str){ *env, (size_t)(eq - *env) },
			eq + 1, said, err) < 0)
			return -1;
	}
	return 0;
}

const char *
config_text(const struct config *c, enum setting_id id)
{
	const char *text = c->values[id].text;

	if (text == NULL && settings[id].fallback != SETTING_NONE)
		return config_text(c, settings[id].fallback);
	return text;
}

int64_t
config_int(const struct config *c, enum setting_id id)
{
	return c->values[id].number;
}

int
config_need(const struct config *c, enum setting_id id, struct error *err)
{
	const struct setting *s = &settings[id];

	if (config_text(c, id) != NULL)
		return 0;
	return fail(err, FAULT_CONFIG, "CONFIG",
	    "%s is not set\nit gives %s%s%s%s", s->env, s->help,
	    s->flag != NULL ? "; or say --" : "",
	    s->flag != NULL ? s->flag : "",
	    s->type == SETTING_URL || s->type == SETTING_KEY
		? "\nof the local stack: eval \"$(scripts/stack env)\""
		: "");
}

void
config_wipe_env(void)
{
	for (int i = SETTING_NONE + 1; i < N_SETTINGS; i++) {
		if (!settings[i].secret)
			continue;
		harden_wipe_env(settings[i].env);
		if (settings[i].alias != NULL)
			harden_wipe_env(settings[i].alias);
	}
}

const char *
setting_type_name(enum setting_type type)
{
	static const char *const names[] = {
		[SETTING_TEXT] = "text",
		[SETTING_URL] = "URL",
		[SETTING_KEY] = "key",
		[SETTING_INT] = "number",
		[SETTING_BOOL] = "on|off",
		[SETTING_MS] = "duration",
		[SETTING_CHOICE] = "choice",
	};

	return names[type];
}

/* Replace what stands between `from` and `to` by three stars. */
static const char *
star_out(struct arena *a, const char *s, size_t from, size_t to)
{
	return arena_printf(a, "%.*s***%s", (int)from, s, s + to);
}

const char *
config_masked(struct arena *a, const char *url)
{
	const char *at, *user = strstr(url, "://");
	size_t authority, done = 0;

	if (user != NULL) {
		user += 3;
		authority = strcspn(user, "/?#");
		/* of several @ the last one ends the credentials */
		at = memrchr(user, '@', authority);
		if (at != NULL) {
			const char *colon =
			    memchr(user, ':', (size_t)(at - user));

			if (colon != NULL)
				url =
				    star_out(a, url, (size_t)(colon + 1 - url),
					(size_t)(at - url));
		}
	}
	for (;;) {
		const char *key = strstr(url + done, "password=");
		size_t from, to;

		if (key == NULL)
			return url;
		from = (size_t)(key - url) + strlen("password=");
		to = from +
		    (url[from] == '\'' ? strcspn(url + from + 1, "'") + 2
				       : strcspn(url + from, "& "));
		if (to > strlen(url)) /* a quote that never ends */
			to = strlen(url);
		url = star_out(a, url, from, to);
		done = from;
	}
}
