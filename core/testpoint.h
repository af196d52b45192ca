#pragma once
/*
 * Named points at which the crash matrix kills the process, as kill -9 would:
 * MESHHOOK_TESTPOINT=name[:count] dies when the point is reached for the
 * count-th time, MESHHOOK_TESTPOINT=name=what when it is what's turn. Compiled
 * out of a release (meson -Dtestpoints=true).
 *
 * fault_hit() is a countdown for fault loops: with fault_set(n), or from the
 * start with MESHHOOK_TESTFAULT=n, the n-th call from now says yes, once; an
 * operation that may fail asks it first.
 */
#include <stddef.h>

#ifdef TESTPOINTS
void testpoint(const char *name);
void testpoint_of(const char *name, const char *what, size_t n);
void fault_set(int countdown); /* 0: never */
int fault_hit(void);
#else
static inline void
testpoint(const char *name)
{
	(void)name;
}
static inline void
testpoint_of(const char *name, const char *what, size_t n)
{
	(void)name;
	(void)what;
	(void)n;
}
static inline int
fault_hit(void)
{
	return 0;
}
#endif
