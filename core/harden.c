#include "core/harden.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

void
harden_process(void)
{
	const struct rlimit none = { 0, 0 };

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &none);
	signal(SIGPIPE, SIG_IGN);
}

void
harden_wipe_env(const char *name)
{
	char *value = getenv(name);

	if (value == NULL)
		return;
	explicit_bzero(value, strlen(value));
	unsetenv(name);
}
