#pragma once
/*
 * Parsing, in two passes. parse.c and parse-node.c read fields, by tables, and
 * note what templates refer to; graph.c reads the edges and checks what takes
 * all nodes: order, reach, joins, references. A problem never stops a pass, so
 * that one validate tells all; the second pass needs ids and types.
 */
#include "worker/flow/flow-impl.h"

struct ref { /* node reads the output of step */
	uint32_t node;
	struct str step;
	const char *pointer;
};

struct parser {
	struct arena *a;
	struct problems *problems;
	struct flow *flow;
	struct node *nodes;
	uint32_t node; /* being read */
	int unsound;   /* ids or types are wrong: nothing to say of edges */
	struct ref *refs;
	uint32_t n_refs, room_refs;
};

/* A pointer at a member or an item below a place. */
#define AT_KEY(up_, key_)                                                      \
	(&(struct json_path){ .up = (up_), .key = str_of(key_) })
#define AT_ITEM(up_, i_) (&(struct json_path){ .up = (up_), .index = (i_) })

void problem(struct parser *p, const struct json_path *at, const char *hint,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void problem_at(
    struct parser *p, const char *pointer, const char *hint, const char *text);
const char *pointer_of(struct parser *p, const struct json_path *at);
/* 'did you mean "best"?', or NULL. */
const char *hint_of(struct parser *p, const struct suggest *s);

/*
 * Fields of an object, as a table. parse gets the value and the object that
 * the table fills (by its own knowledge of what that is).
 */
typedef void field_fn(struct parser *p, const struct json_path *at,
    const struct json *v, void *into);
struct field {
	const char *name;
	field_fn *parse; /* NULL: known, read elsewhere */
	int required;
};
/* 0 when v is an object: each member was given to its field, and it is said
 * which are unknown and which are missing. */
int fields_parse(struct parser *p, const struct json_path *at,
    const struct json *v, const struct field *fields, void *into);

/* Values; each says what is wrong and returns -1, or 0. */
int want(struct parser *p, const struct json_path *at, const struct json *v,
    enum json_type type);
int want_name(struct parser *p, const struct json_path *at,
    const struct json *v, struct str *out); /* [a-z][a-z0-9_]{0,62} */
int want_integer(struct parser *p, const struct json_path *at,
    const struct json *v, int64_t from, int64_t to, int64_t *out);
int want_duration(struct parser *p, const struct json_path *at,
    const struct json *v, int64_t most, int64_t *out);
/* One of a NULL-terminated list: its index. */
int want_word(struct parser *p, const struct json_path *at,
    const struct json *v, const char *const *words, int *out);
field_fn field_text; /* a description: nothing is kept */

/* Expressions and templates; references are noted for the node being read. */
struct expr *want_expr(
    struct parser *p, const struct json_path *at, const struct json *v);
struct template *want_template(
    struct parser *p, const struct json_path *at, const struct json *v);
struct template *want_text(/* a template that is a string */
    struct parser *p, const struct json_path *at, const struct json *v);

/* The fields of a node, by its type, id and type included. */
extern const struct field *const node_fields[N_NODE_TYPES];
/* After the fields: what takes several of them. */
void node_check(struct parser *p, const struct json_path *at,
    const struct json *v, struct node *node);

/* parse-http.c: of an http_call */
field_fn http_method, http_url, http_query, http_headers, http_body,
    http_body_text, http_timeout, http_deadline, http_redirects, retry_parse;
void http_check(struct parser *p, const struct json_path *at,
    const struct json *v, union node_config *config);

void graph_parse(struct parser *p, const struct json *edges);
const char *hint_step(struct parser *p, struct str id);
/* graph-sets.c, once the order is known */
void graph_refs(struct parser *p, const uint32_t *order);
void graph_joins(struct parser *p, const uint32_t *order);
