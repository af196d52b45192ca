#include "core/error.h"
#include "core/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A text that filled its room may end within a character: drop that. */
static void
drop_half_character(char *text, size_t room)
{
	size_t n = strlen(text), at = n;

	if (n + 1 < room)
		return;
	while (at > 0 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
		at--;
	if (at > 0 && utf8_len(text + at - 1, n - at + 1) != n - at + 1)
		text[at - 1] = '\0';
}

int
fail(
    struct error *err, enum fault fault, const char *code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return -1;
	err->fault = fault;
	snprintf(err->code, sizeof(err->code), "%s", code);
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	drop_half_character(err->text, sizeof(err->text));
	return -1;
}

int
fail_in(struct error *err, const char *context)
{
	size_t n = strlen(context) + 2;
	size_t room = sizeof(err->text);

	if (err == NULL || n >= room)
		return -1;
	memmove(err->text + n, err->text, room - n);
	err->text[room - 1] = '\0';
	memcpy(err->text, context, n - 2);
	memcpy(err->text + n - 2, ": ", 2);
	drop_half_character(err->text, room);
	return -1;
}

const char *
fault_name(enum fault fault)
{
	static const char *const names[] = {
		[FAULT_NONE] = "none",
		[FAULT_RETRY] = "retry",
		[FAULT_INPUT] = "input",
		[FAULT_CONFIG] = "config",
		[FAULT_AUTH] = "auth",
		[FAULT_BUG] = "bug",
	};

	return names[fault];
}
