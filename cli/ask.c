#include "cli/ask.h"
#include "core/buf.h"
#include "supabase/client/vault.h"

#include <signal.h>
#include <termios.h>
#include <unistd.h>

/* The keys by which a line is edited, as the terminal has them. 1: it ends. */
static int
typed(struct buf *b, char c, const struct termios *keys)
{
	cc_t key = (cc_t)c;

	if (key == '\n' || key == '\r' || key == keys->c_cc[VEOF] ||
	    key == keys->c_cc[VINTR])
		return 1;
	if (key == keys->c_cc[VKILL])
		b->len = 0;
	else if (key != keys->c_cc[VERASE] && key != '\b')
		buf_addc(b, c);
	else /* a character: what continues it goes, too */
		while (b->len > 0 && (b->bytes[--b->len] & 0xc0) == 0x80)
			;
	return 0;
}

/* Signals of the keyboard wait until the terminal is given back. */
static int
ask(struct cli *cli, const char *what, struct str *out, struct error *err)
{
	struct termios before, hidden;
	struct buf b;
	char c = 0;
	ssize_t n;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return fail(err, FAULT_INPUT, "READ", "no terminal to ask on");
	hidden = before;
	hidden.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
	hidden.c_cc[VMIN] = 1;
	hidden.c_cc[VTIME] = 0;
	buf_init(&b);
	buf_reserve(&b, 65536); /* it never moves, and leaves no copy behind */
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
	fprintf(stderr, "%s (it is not shown): ", what);
	do
		n = read(STDIN_FILENO, &c, 1);
	while (n == 1 && b.len < 65536 && typed(&b, c, &before) == 0);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	fputc('\n', stderr);
	if (n == 1 && (cc_t)c == before.c_cc[VINTR])
		raise(SIGINT);
	*out = arena_str(&cli->arena, buf_str(&b));
	secret_wipe(b.bytes, b.len);
	buf_deinit(&b);
	return 0;
}

int
ask_secret(struct cli *cli, const char *file, const char *what, struct str *out,
    struct error *err)
{
	if (file == NULL && isatty(STDIN_FILENO))
		return ask(cli, what, out, err);
	if (cli_read(cli, file != NULL ? file : "-", out, err) < 0)
		return -1;
	if (out->n > 0 && out->s[out->n - 1] == '\n')
		out->n--;
	if (out->n > 0 && out->s[out->n - 1] == '\r')
		out->n--;
	return 0;
}
