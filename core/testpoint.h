#pragma once
/*
 * Named points at which the crash matrix kills the process, as kill -9 would:
 * MESHHOOK_TESTPOINT=name[:count] dies when the point is reached for the
 * count-th time. Compiled out of a release (meson -Dtestpoints=true).
 *
 * fault_hit() is a countdown for fault loops: with fault_set(n), the n-th call
 * from now says yes, once; an operation that may fail asks it first.
 */
#ifdef TESTPOINTS
void testpoint(const char *name);
void fault_set(int countdown); /* 0: never */
int fault_hit(void);
#else
static inline void
testpoint(const char *name)
{
	(void)name;
}
static inline int
fault_hit(void)
{
	return 0;
}
#endif
