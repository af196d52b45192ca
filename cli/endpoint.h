#pragma once
/* What commands about endpoints share: schemes and sealed secrets. */
#include "cli/session.h"
#include "realtime/intake/signature.h"

/* --scheme and --scheme-option as the JSON that the database keeps, and as the
 * gateway reads it. */
int endpoint_scheme(struct cli *cli, struct json **config,
    struct signature_scheme *out, struct error *err);
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
