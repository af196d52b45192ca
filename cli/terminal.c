#include "cli/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ECMA-48, and xterm's private modes: 1049 the alternate screen, 25 the
 * cursor, 7 wrapping, 2026 a frame that is shown when it is whole. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[H\033[2J"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"
#define FRAME_BEGIN "\033[?2026h\033[H"
#define FRAME_END "\033[?2026l"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\r\n\033[J"

static void
write_all(int fd, struct str s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.s, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody looks any more */
		s = (struct str){ s.s + n, s.n - (size_t)n };
	}
}

void
terminal_init(struct terminal *t, int out)
{
	const char *term = getenv("TERM");
	int screen = isatty(out) && term != NULL && strcmp(term, "dumb") != 0;

	*t = (struct terminal){ .out = screen ? out : -1, .keys = -1 };
	if (t->out >= 0 && isatty(STDIN_FILENO) &&
	    tcgetattr(STDIN_FILENO, &t->before) == 0)
		t->keys = STDIN_FILENO;
}

void
terminal_measure(struct terminal *t)
{
	struct winsize size = { 0 };

	if (ioctl(t->out, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 ||
	    size.ws_row == 0)
		size = (struct winsize){ .ws_col = 80, .ws_row = 24 };
	t->width = size.ws_col;
	t->height = size.ws_row;
}

void
terminal_take(struct terminal *t)
{
	if (t->out < 0 || t->taken)
		return;
	t->taken = 1;
	if (t->keys >= 0) {
		struct termios raw = t->before;

		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(t->keys, TCSANOW, &raw);
	}
	terminal_measure(t);
	write_all(t->out, STR(ENTER));
}

void
terminal_give_back(struct terminal *t)
{
	if (!t->taken)
		return;
	t->taken = 0;
	write_all(t->out, STR(LEAVE));
	if (t->keys >= 0)
		tcsetattr(t->keys, TCSANOW, &t->before);
}

/* Each line is cleared before it is written, and what is below the last one. */
void
terminal_show(struct terminal *t, struct str frame)
{
	struct buf b;
	int row = 1;

	if (!t->taken)
		return;
	buf_init(&b);
	buf_adds(&b, FRAME_BEGIN CLEAR_LINE);
	for (size_t i = 0; i < frame.n; i++) {
		if (frame.s[i] != '\n')
			buf_addc(&b, frame.s[i]);
		else if (row++ < t->height)
			buf_adds(&b, "\r\n" CLEAR_LINE);
		else
			break;
	}
	buf_adds(&b, row < t->height ? CLEAR_BELOW FRAME_END : FRAME_END);
	write_all(t->out, buf_str(&b));
	buf_deinit(&b);
}
