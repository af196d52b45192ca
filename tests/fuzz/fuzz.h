#pragma once
/*
 * A fuzz target is fuzz-NAME.c with one function; tests/fuzz/meson.build lists
 * the names. With -Dfuzz=true and clang it is linked with libFuzzer:
 *     CC=clang meson setup build-fuzz -Dfuzz=true -Db_lundef=false \
 *         -Db_sanitize=address,undefined
 *     ninja -C build-fuzz && build-fuzz/tests/fuzz/fuzz-NAME -max_total_time=300 \
 *         NEW-CORPUS tests/fuzz/corpus/NAME
 * Otherwise with replay.c, which runs corpus/NAME as an ordinary test. What a
 * fuzzer finds is minimised and stays in the corpus.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/arena.h"
#include "core/error.h"
#include "core/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold, in builds of every kind. */
#define FUZZ_CHECK(condition)                                                  \
	do {                                                                   \
		if (!(condition)) {                                            \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__,       \
			    __LINE__, #condition);                             \
			abort();                                               \
		}                                                              \
	} while (0)

/* The input's fault, in words that can be stored. */
static inline void
fuzz_check_error(const struct error *err)
{
	FUZZ_CHECK(err->fault == FAULT_INPUT);
	FUZZ_CHECK(err->text[0] != '\0' && utf8_valid(str_of(err->text)));
}

/* The first line of an input, which becomes what is behind it. */
static inline struct str
fuzz_line(struct str *input)
{
	struct str line = { input->s, 0 };

	while (line.n < input->n && input->s[line.n] != '\n')
		line.n++;
	input->s += line.n + (line.n < input->n);
	input->n -= line.n + (line.n < input->n);
	return line;
}
