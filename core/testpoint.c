#include "core/testpoint.h"

#ifdef TESTPOINTS
#include <signal.h>
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

static int left;

void
fault_set(int countdown)
{
	left = countdown;
}

int
fault_hit(void)
{
	return left > 0 && --left == 0;
}
#endif
