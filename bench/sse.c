/*
 * Viewers of event streams, light enough not to be what is measured.
 *
 *     bench-sse PORT N [-s EVERY] PATH...
 *
 * opens N streams, the i-th on the path i mod their number (which it may be
 * asked for with the header in SSE_HEADER), and says "open" when each has got
 * its first event. A line is recognised by its message, which begins with '@'
 * and 16 digits. For each "mark" on stdin it prints what came since the last:
 *     {"seconds", "lines", "bytes", "closed", "cpu_s"}
 * and with -s, of every EVERYth stream, first a line "NUMBER MICROSECONDS" for
 * each line that came.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 262144, CARRY = 27, DIGITS = 16, OPENING = 200 };

static const char needle[] = "\"message\":\"@";

struct viewer {
	int fd, opened, sampled;
	int carried;
	char carry[CARRY + 1];
};

struct sample {
	int64_t number, us;
};

static struct viewer *viewers;
static int n_viewers, n_opened, n_closed, n_connecting;
static uint64_t lines, bytes;
static struct sample *samples;
static size_t n_samples, samples_room;
static char buf[64 + ROOM];

static int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
sample(const char *digits)
{
	struct sample *s;

	if (n_samples == samples_room) {
		samples_room = samples_room > 0 ? samples_room * 2 : 65536;
		samples = realloc(samples, samples_room * sizeof(*samples));
		if (samples == NULL)
			die("realloc");
	}
	s = &samples[n_samples++];
	s->number = 0;
	for (int i = 0; i < DIGITS; i++)
		s->number = s->number * 10 + digits[i] - '0';
	s->us = now_us();
}

static void
scan(struct viewer *v, const char *p, const char *end)
{
	const size_t n = sizeof(needle) - 1;
	const char *at;

	while ((at = memmem(p, (size_t)(end - p), needle, n)) != NULL) {
		if (end - at < (ptrdiff_t)n + DIGITS) {
			p = at;
			break;
		}
		lines++;
		if (v->sampled)
			sample(at + n);
		p = at + n + DIGITS;
	}
	v->carried = (int)(end - p < CARRY ? end - p : CARRY);
	memcpy(v->carry, end - v->carried, (size_t)v->carried);
}

static void
take(struct viewer *v)
{
	ssize_t n = recv(v->fd, buf + 64, ROOM, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(v->fd);
		v->fd = -1;
		n_closed++;
		return;
	}
	bytes += (uint64_t)n;
	if (!v->opened && memmem(buf + 64, (size_t)n, "\n\n", 2) != NULL) {
		if (memmem(buf + 64, (size_t)n, "HTTP/1.1 200", 12) == NULL &&
		    memmem(buf + 64, (size_t)n, "event: ready", 12) == NULL &&
		    memmem(buf + 64, (size_t)n, ": ready", 7) == NULL) {
			fprintf(stderr, "%.*s\n", (int)n, buf + 64);
			exit(1);
		}
		v->opened = 1;
		n_opened++;
		n_connecting--;
	}
	memcpy(buf + 64 - v->carried, v->carry, (size_t)v->carried);
	scan(v, buf + 64 - v->carried, buf + 64 + n);
}

static void
dial(int ep, int i, int port, const char *path)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const char *header = getenv("SSE_HEADER");
	struct viewer *v = &viewers[i];
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = (uint32_t)i };
	char head[4096];
	int n = snprintf(head, sizeof(head),
	    "GET %s HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n"
	    "%s%s\r\n",
	    path, header != NULL ? header : "", header != NULL ? "\r\n" : "");

	v->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (v->fd < 0 || connect(v->fd, (void *)&to, sizeof(to)) < 0)
		die("connect");
	if (send(v->fd, head, (size_t)n, MSG_NOSIGNAL) != n)
		die("send");
	if (epoll_ctl(ep, EPOLL_CTL_ADD, v->fd, &e) < 0)
		die("epoll");
	n_connecting++;
}

/* One command at most is on its way. */
static void
mark(void)
{
	static int64_t from;
	static double cpu;
	int64_t to = now_us();
	struct rusage u;
	double used;

	getrusage(RUSAGE_SELF, &u);
	used = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	    (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	for (size_t i = 0; i < n_samples; i++)
		printf("%lld %lld\n", (long long)samples[i].number,
		    (long long)samples[i].us);
	printf("{\"seconds\":%.6f,\"lines\":%llu,\"bytes\":%llu,\"closed\":%d,"
	       "\"cpu_s\":%.3f}\n",
	    (double)(to - from) / 1e6, (unsigned long long)lines,
	    (unsigned long long)bytes, n_closed, used - cpu);
	fflush(stdout);
	from = to;
	cpu = used;
	lines = bytes = 0;
	n_samples = 0;
}

int
main(int argc, char **argv)
{
	int port = argc > 3 ? (int)strtol(argv[1], NULL, 10) : 0;
	int every = 0, first = 3, ep = epoll_create1(EPOLL_CLOEXEC), said = 0;
	struct epoll_event events[256],
	    in = { .events = EPOLLIN, .data.u32 = UINT32_MAX };
	int next = 0;

	if (argc > 5 && strcmp(argv[3], "-s") == 0) {
		every = (int)strtol(argv[4], NULL, 10);
		first = 5;
	}
	if (argc <= first) {
		fprintf(stderr, "usage: bench-sse PORT N [-s EVERY] PATH...\n");
		return 2;
	}
	n_viewers = (int)strtol(argv[2], NULL, 10);
	viewers = calloc((size_t)n_viewers, sizeof(*viewers));
	epoll_ctl(ep, EPOLL_CTL_ADD, 0, &in);
	for (;;) {
		int n;

		while (next < n_viewers && n_connecting < OPENING) {
			viewers[next].sampled = every > 0 && next % every == 0;
			dial(ep, next, port,
			    argv[first + next % (argc - first)]);
			next++;
		}
		if (!said && n_opened == n_viewers) {
			said = 1;
			printf("open\n");
			fflush(stdout);
		}
		n = epoll_wait(ep, events, 256, -1);
		for (int i = 0; i < n; i++) {
			char line[64];

			if (events[i].data.u32 != UINT32_MAX)
				take(&viewers[events[i].data.u32]);
			else if (read(0, line, sizeof(line)) <= 0)
				return 0;
			else
				mark();
		}
	}
}
