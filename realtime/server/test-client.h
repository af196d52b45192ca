#pragma once
/* A client that reads until the answer is whole or the connection is closed. */
#include "core/time.h"
#include "realtime/server/test-server.h"

#include <stdio.h>
#include <stdlib.h>

#define HOST "Host: h\r\n"

static void
say(int fd, const char *text)
{
	assert_int_equal(
	    send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static char answer[400000];

/* All that comes until the server closes (or, with n, until n answers'
 * heads are there); how long it took, in ms; -1 when neither came. */
static int
hear(int fd, int n)
{
	size_t len = 0;
	int64_t from = time_mono_ms();

	for (;;) {
		ssize_t r = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);
		int heads = 0;

		if (r < 0)
			return -1;
		len += (size_t)r;
		answer[len] = '\0';
		if (r == 0)
			break;
		for (char *p = answer; (p = strstr(p, "HTTP/1.1 ")) != NULL;
		     p++)
			heads++;
		if (n > 0 && heads >= n && strstr(answer, "\r\n\r\n") != NULL)
			break;
	}
	return (int)(time_mono_ms() - from);
}
