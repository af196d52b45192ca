/*
 * What an expression reads, found without data by following where the document
 * itself, or one of its members, is the current value. Whatever else is done
 * with either than taking a member is a use of all of it.
 */
#include "worker/flow/expr-impl.h"

/* What a node's value is known to be. */
struct place {
	enum { DOCUMENT, MEMBER, ELSEWHERE } of;
	struct str name; /* MEMBER */
};

struct refs {
	expr_ref_fn *fn;
	void *arg;
};

static struct place refs_of(
    const struct refs *r, const struct expr_node *node, struct place at);

static const struct place elsewhere = { .of = ELSEWHERE };

/* All of the place is used. */
static struct place
use(const struct refs *r, struct place at)
{
	const struct str unknown = { NULL, 0 };

	if (at.of == DOCUMENT)
		r->fn(r->arg, unknown, unknown);
	else if (at.of == MEMBER)
		r->fn(r->arg, at.name, unknown);
	return elsewhere;
}

static struct place
use_field(const struct refs *r, struct str name, struct place at)
{
	if (at.of == DOCUMENT)
		return (struct place){ MEMBER, name };
	if (at.of == MEMBER)
		r->fn(r->arg, at.name, name);
	return elsewhere;
}

static struct place
use_kids(const struct refs *r, const struct expr_node *node, struct place at)
{
	for (uint32_t i = 0; i < node->n; i++)
		use(r, refs_of(r, node->kids[i], at));
	return elsewhere;
}

static struct place
refs_of(const struct refs *r, const struct expr_node *node, struct place at)
{
	switch (node->type) {
	case EX_CURRENT:
		return at;
	case EX_LITERAL:
		return elsewhere;
	case EX_FIELD:
		return use_field(r, node->name, at);
	case EX_INDEX:
	case EX_SLICE:
		return use(r, at);
	case EX_CHAIN:
		for (uint32_t i = 0; i < node->n; i++)
			at = refs_of(r, node->kids[i], at);
		return at;
	case EX_PROJECT:
	case EX_VALUES:
	case EX_FILTER:
		use(r, refs_of(r, node->kids[0], at));
		return elsewhere; /* the other kids see items */
	case EX_REF:
		return elsewhere;
	case EX_LIST:
	case EX_HASH:
	case EX_FLATTEN:
	case EX_OR:
	case EX_AND:
	case EX_NOT:
	case EX_COMPARE:
	case EX_CALL:
		break;
	}
	return use_kids(r, node, at);
}

void
expr_refs(const struct expr *expr, expr_ref_fn *fn, void *arg)
{
	const struct refs r = { fn, arg };

	use(&r, refs_of(&r, expr->root, (struct place){ .of = DOCUMENT }));
}
