#pragma once
/* Intrusive circular doubly linked list. An unlinked node points to itself. */
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define list_entry(ptr, type, member)                                          \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define list_for(it, head)                                                     \
	for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_for_safe(it, head)                                                \
	for (struct list *it = (head)->next, *it##_next = it->next;            \
	     it != (head); it = it##_next, it##_next = it->next)

static inline void
list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline int
list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void
list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* Before head: at the tail of the list that head begins. */
static inline void
list_append(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void
list_prepend(struct list *head, struct list *l)
{
	list_append(head->next, l);
}

static inline struct list *
list_pop(struct list *head)
{
	struct list *l = head->next;

	if (l == head)
		return NULL;
	list_remove(l);
	return l;
}
