/*
 * Sets over the graph: which steps come before a step, for references; which
 * joins the end of a step may move, for messages.
 *
 * dead[n] are the joins that move when n is skipped: those its edges lead to,
 * and what skipping the steps behind its edges moves; it ends at joins, whose
 * skip goes by a message of its own. A set beyond SET makes its step go by
 * message too, so a set has at most SET members for each edge of its step.
 * The end of a step moves the joins that its edges lead to, and, where some of
 * its edges may be dead, what lies behind those.
 */
#include "worker/flow/parse-impl.h"

enum { SET = 64, MASK = 64 };

struct set {
	const uint32_t *of;
	uint32_t n;
};

struct sets {
	struct parser *p;
	struct set *dead;
	uint32_t *stamp, now; /* stamp[x] == now: x is in the set being made */
	uint32_t *made, n;
};

static void
sets_add(struct sets *s, uint32_t x)
{
	if (s->stamp[x] == s->now)
		return;
	s->stamp[x] = s->now;
	s->made[s->n++] = x;
}

/* What an edge to this step moves; behind: also when it is dead. */
static void
sets_edge(struct sets *s, uint32_t to, int behind)
{
	const struct node *node = &s->p->nodes[to];

	if (node->is_join)
		sets_add(s, to);
	else if (behind && !node->skip_by_message)
		for (uint32_t i = 0; i < s->dead[to].n; i++)
			sets_add(s, s->dead[to].of[i]);
}

static struct set
sets_of(struct sets *s, const struct node *node, int behind)
{
	struct set out = { 0 };
	uint32_t *of;

	if (node->n_out == 1 && behind) { /* the common case shares */
		uint32_t to = node->out[0].to;

		if (!s->p->nodes[to].is_join)
			return s->p->nodes[to].skip_by_message ? out
							       : s->dead[to];
	}
	s->now++;
	s->n = 0;
	for (uint32_t i = 0; i < node->n_out; i++)
		sets_edge(s, node->out[i].to, behind);
	if (node->n_out == 0)
		sets_edge(s, s->p->flow->n_nodes, 0);
	of = arena_array(s->p->a, s->n, sizeof(*of));
	for (uint32_t i = 0; i < s->n; i++)
		of[i] = s->made[i];
	out.of = of;
	out.n = s->n;
	return out;
}

/* A join has edges from more than one step. All triggers count as one: the
 * first event settles them together. */
static void
joins_mark(struct parser *p)
{
	uint32_t n = p->flow->n_nodes;
	uint32_t *source = arena_zalloc(p->a, (n + 1) * sizeof(*source));

	for (uint32_t i = 0; i < n; i++) {
		const struct node *node = &p->nodes[i];
		uint32_t from = node_is_trigger(node) ? n + 1 : i + 1;

		for (uint32_t j = 0; j <= node->n_out; j++) {
			uint32_t to = n;

			if (j < node->n_out)
				to = node->out[j].to;
			else if (node->n_out == 0)
				p->nodes[n].n_in++;
			else
				break;
			if (source[to] != 0 && source[to] != from)
				p->nodes[to].is_join = 1;
			source[to] = from;
		}
	}
}

void
graph_joins(struct parser *p, const uint32_t *order)
{
	uint32_t n = p->flow->n_nodes;
	struct sets s = { .p = p };

	joins_mark(p);
	s.dead = arena_zalloc(p->a, n * sizeof(*s.dead));
	s.stamp = arena_zalloc(p->a, (n + 1) * sizeof(*s.stamp));
	s.made = arena_array(p->a, n + 1, sizeof(*s.made));
	for (uint32_t i = n; i-- > 0;) {
		struct node *node = &p->nodes[order[i]];
		int behind = node->type == NODE_BRANCH || node->on_error;
		struct set own;

		s.dead[order[i]] = sets_of(&s, node, 1);
		node->skip_by_message =
		    node->is_join || s.dead[order[i]].n > SET;
		own = behind || node->skip_by_message ? s.dead[order[i]]
						      : sets_of(&s, node, 0);
		node->joins = own.of;
		node->n_joins = own.n;
	}
}

/* masks[n]: which of the steps first, first + 1, ... of those referred to come
 * before n. */
static void
masks_make(struct parser *p, const uint32_t *order, const uint32_t *nth,
    uint32_t first, uint64_t *masks)
{
	for (uint32_t i = 0; i < p->flow->n_nodes; i++)
		masks[i] = 0;
	for (uint32_t i = 0; i < p->flow->n_nodes; i++) {
		const struct node *node = &p->nodes[order[i]];
		uint64_t mask = masks[order[i]];
		uint32_t k = nth[order[i]] - 1 - first;

		if (nth[order[i]] > first && k < MASK)
			mask |= UINT64_C(1) << k;
		for (uint32_t j = 0; mask != 0 && j < node->n_out; j++)
			masks[node->out[j].to] |= mask;
	}
}

static void
refs_check(struct parser *p, const uint32_t *order, const int32_t *targets,
    const uint32_t *nth, uint32_t distinct)
{
	uint64_t *masks = arena_array(p->a, p->flow->n_nodes, sizeof(*masks));

	for (uint32_t first = 0; first < distinct; first += MASK) {
		masks_make(p, order, nth, first, masks);
		for (uint32_t i = 0; i < p->n_refs; i++) {
			const struct ref *ref = &p->refs[i];
			uint32_t k;

			if (targets[i] < 0)
				continue;
			k = nth[targets[i]] - 1 - first;
			if (nth[targets[i]] <= first || k >= MASK ||
			    (masks[ref->node] >> k & 1) != 0)
				continue;
			problem_at(p, ref->pointer, NULL,
			    arena_printf(p->a,
				"step \"%.*s\" does not come before \"%.*s\"",
				STR_FMT(ref->step),
				STR_FMT(p->nodes[ref->node].id)));
		}
	}
}

/* A reference's step, or -1 and it is said why. */
static int32_t
ref_target(struct parser *p, const struct ref *ref)
{
	int32_t to = flow_find(p->flow, ref->step);

	if (to < 0 || (uint32_t)to == p->flow->n_nodes) {
		problem_at(p, ref->pointer, hint_step(p, ref->step),
		    arena_printf(p->a, "unknown step \"%.*s\"",
			(int)(ref->step.n < 100 ? ref->step.n : 100),
			ref->step.s));
		return -1;
	}
	if (node_is_trigger(&p->nodes[to])) {
		problem_at(p, ref->pointer, "use input",
		    arena_printf(p->a,
			"\"%.*s\" is a trigger: what it took in is \"input\"",
			STR_FMT(ref->step)));
		return -1;
	}
	return to;
}

/* Most references are to a step right before: an edge settles those. */
static void
refs_settle(struct parser *p, int32_t *targets)
{
	uint32_t *first =
	    arena_zalloc(p->a, (p->flow->n_nodes + 1) * sizeof(*first));

	for (uint32_t i = p->n_refs; i-- > 0;)
		first[p->refs[i].node] = i + 1;
	for (uint32_t i = 0; i < p->flow->n_nodes; i++)
		for (uint32_t j = 0; j < p->nodes[i].n_out; j++) {
			uint32_t to = p->nodes[i].out[j].to;
			uint32_t k = first[to] - 1;

			while (first[to] > 0 && k < p->n_refs &&
			    p->refs[k].node == to) {
				if (targets[k] == (int32_t)i)
					targets[k] = -1;
				k++;
			}
		}
}

void
graph_refs(struct parser *p, const uint32_t *order)
{
	int32_t *targets = arena_array(p->a, p->n_refs, sizeof(*targets));
	uint32_t *reads = arena_array(p->a, p->n_refs, sizeof(*reads));
	uint32_t *nth =
	    arena_zalloc(p->a, (p->flow->n_nodes + 1) * sizeof(*nth));
	uint32_t distinct = 0;

	for (uint32_t i = 0; i < p->n_refs; i++) { /* by node, none twice */
		struct node *node = &p->nodes[p->refs[i].node];

		targets[i] = ref_target(p, &p->refs[i]);
		if (targets[i] < 0)
			continue;
		if (node->n_reads == 0)
			node->reads = &reads[i];
		((uint32_t *)node->reads)[node->n_reads++] =
		    (uint32_t)targets[i];
	}
	refs_settle(p, targets);
	for (uint32_t i = 0; i < p->n_refs; i++)
		if (targets[i] >= 0 && nth[targets[i]] == 0)
			nth[targets[i]] = ++distinct;
	refs_check(p, order, targets, nth, distinct);
}
