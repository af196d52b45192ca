#pragma once
/*
 * What every long-lived process does first: no core dump, no ptrace by its own
 * user, no secret left in the environment after it was read.
 */

/* Undumpable, RLIMIT_CORE 0, SIGPIPE ignored. Call before secrets are read. */
void harden_process(void);
/* Overwrite an environment variable's value in place, then unset it. */
void harden_wipe_env(const char *name);
