#include "cli/channel.h"
#include "cli/cli.h"
#include "core/uuid.h"

#include <string.h>

enum { SERVICE_MAX = 64, PROJECT_MAX = 64, RESOURCE_MAX = 128 };

static int
is_name(const char *s, size_t max)
{
	size_t n = strspn(s,
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "0123456789_.-");

	return n > 0 && n <= max && s[n] == '\0';
}

static int
is_uuid(const char *s)
{
	struct uuid id;

	return uuid_parse(str_of(s), &id) == 0;
}

static const char *
next_part(struct arena *a, const char **at)
{
	size_t n = strcspn(*at, ":");
	const char *part = arena_strndup(a, *at, n);

	*at += n + ((*at)[n] == ':');
	return part;
}

int
channel_parse(
    struct arena *a, const char *arg, struct channel *out, struct error *err)
{
	const char *at = arg + strlen("logs:");

	*out = (struct channel){ .service = "run", .project = "", .is_run = 1 };
	if (strncmp(arg, "logs:", 5) != 0) {
		out->resource = arena_strdup(a, arg);
		if (is_uuid(arg) || strcmp(arg, "latest") == 0)
			return 0;
		return usage(err,
		    "\"%.80s\" is neither a run's id nor a channel\n"
		    "list runs: meshhook run list; \"latest\" is the newest; "
		    "a channel is logs:SERVICE:PROJECT[:RESOURCE]",
		    arg);
	}
	out->name = arena_strdup(a, arg);
	out->service = next_part(a, &at);
	out->project = next_part(a, &at);
	out->resource = *at != '\0' ? arena_strdup(a, at) : "";
	out->is_run = strcmp(out->service, "run") == 0;
	if (is_name(out->service, SERVICE_MAX) &&
	    is_name(out->project, PROJECT_MAX) &&
	    (out->is_run ? is_uuid(out->resource)
			 : *out->resource == '\0' ||
			is_name(out->resource, RESOURCE_MAX)) &&
	    arg[strlen(arg) - 1] != ':')
		return 0;
	return usage(err,
	    "\"%.120s\" is no channel\n"
	    "logs:SERVICE:PROJECT[:RESOURCE] or logs:run:PROJECT:RUN, of "
	    "letters, digits, _ . -",
	    arg);
}

void
channel_name(struct arena *a, struct channel *c, const char *project)
{
	c->project = arena_strdup(a, project);
	c->name = arena_printf(a, "logs:%s:%s%s%s", c->service, c->project,
	    *c->resource != '\0' ? ":" : "", c->resource);
}

int
channel_may_be(const struct channel *x, const struct channel *y)
{
	if (strcmp(x->service, y->service) != 0 ||
	    strcmp(x->resource, y->resource) != 0)
		return 0;
	return is_uuid(x->project) != is_uuid(y->project) ||
	    *x->project == '\0' || *y->project == '\0' ||
	    strcmp(x->project, y->project) == 0;
}
