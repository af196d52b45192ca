#pragma once
/* What commands about endpoints share: options, schemes and sealed secrets. */
#include "cli/session.h"
#include "realtime/intake/signature.h"

struct endpoint {
	struct uuid id;
	int version; /* of its secret */
	struct json *config;
	struct signature_scheme scheme;
	const char *path;
	struct str sealed; /* s NULL: it has no secret */
};

/* As session_open_project, for a command that needs the key of secrets. */
int endpoint_begin(struct session *s, struct cli *cli, struct error *err);
/* The endpoint that the command's first argument names. */
int endpoint_find(struct session *s, struct endpoint *out, struct error *err);
/* Columns as the options that were given say, "none" as null; scheme NULL: it
 * isn't said. How many. */
int endpoint_options(
    struct cli *cli, struct json *scheme, struct str *out, struct error *err);
/* --scheme and --scheme-option as the JSON that the database keeps, and as the
 * gateway reads it. Without --scheme the options change `was`; NULL: standard. */
int endpoint_scheme(struct cli *cli, const struct json *was,
    struct json **config, struct signature_scheme *out, struct error *err);
/*
 * The secret that --secret-file gives, or a fresh one where the scheme leaves
 * it to us; s NULL where it needs none. *made says which. It is one that the
 * scheme can use.
 */
int endpoint_secret(struct cli *cli, const struct signature_scheme *scheme,
    struct str *out, int *made, struct error *err);
/* An envelope for the endpoint's secret of this version, and back. */
int endpoint_seal(struct session *s, const struct uuid *endpoint, int version,
    struct str secret, struct str *sealed, struct error *err);
int endpoint_open(struct session *s, const struct uuid *endpoint, int version,
    struct str sealed, struct str *secret, struct error *err);
