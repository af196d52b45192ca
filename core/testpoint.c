#include "core/testpoint.h"

#ifdef TESTPOINTS
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
testpoint(const char *name)
{
	static long seen;
	const char *want = getenv("MESHHOOK_TESTPOINT");
	size_t n = strlen(name);

	if (want == NULL || strncmp(want, name, n) != 0)
		return;
	if (want[n] != '\0' && want[n] != ':')
		return;
	if (++seen >= (want[n] == ':' ? strtol(want + n + 1, NULL, 10) : 1))
		kill(getpid(), SIGKILL);
}

void
testpoint_of(const char *name, const char *what, size_t n)
{
	const char *want = getenv("MESHHOOK_TESTPOINT");
	size_t at = strlen(name);

	if (want != NULL && strncmp(want, name, at) == 0 && want[at] == '=' &&
	    strlen(want + at + 1) == n && memcmp(want + at + 1, what, n) == 0)
		kill(getpid(), SIGKILL);
}

static int left = -1; /* not asked yet */

void
fault_set(int countdown)
{
	left = countdown;
}

int
fault_hit(void)
{
	const char *want = left < 0 ? getenv("MESHHOOK_TESTFAULT") : NULL;

	if (left < 0)
		left = want != NULL ? (int)strtol(want, NULL, 10) : 0;
	if (left == 0 || --left > 0)
		return 0;
	dprintf(STDERR_FILENO, "{\"event\":\"fault.hit\"}\n");
	return 1;
}
#endif
