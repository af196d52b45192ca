#pragma once
/*
 * The terminal as a screen: while it is taken, the alternate screen is shown
 * without a cursor, and keys come one by one, unechoed. Given back, all is as
 * it was. Only who holds it may be drawn on.
 */
#include <termios.h>

#include "core/buf.h"

struct terminal {
	int out;  /* descriptor; -1: there is no terminal */
	int keys; /* descriptor of the keyboard; -1: none */
	int taken;
	int width, height;
	struct termios before;
};

void terminal_init(struct terminal *t, int out);
void terminal_take(struct terminal *t);
void terminal_give_back(struct terminal *t); /* idempotent */
void terminal_measure(struct terminal *t);   /* width and height, now */
/* Put a frame on the screen, in one go: nothing flickers. */
void terminal_show(struct terminal *t, struct str frame);
