#pragma once
/* What cond-parse.c builds and cond-eval.c walks. */
#include "monitor/rule/cond.h"

enum cond_op {
	COND_NUMBER,
	COND_METRIC,
	/* of a metric's range */
	COND_RATE,
	COND_INCREASE,
	COND_DELTA,
	COND_AVG_OVER,
	COND_MIN_OVER,
	COND_MAX_OVER,
	COND_ABSENT,
	/* of a vector, by labels */
	COND_SUM,
	COND_AVG,
	COND_MIN,
	COND_MAX,
	COND_COUNT,
	/* of each element */
	COND_ABS,
	COND_CEIL,
	COND_FLOOR,
	COND_ROUND,
	COND_NEGATE,
	/* of two */
	COND_ADD,
	COND_SUBTRACT,
	COND_MULTIPLY,
	COND_DIVIDE,
	COND_GT,
	COND_GE,
	COND_LT,
	COND_LE,
	COND_EQ,
	COND_NE,
	COND_AND,
	COND_OR,
	COND_UNLESS,
};

struct match {
	struct label label;
	int not_equal;
};

struct cond {
	enum cond_op op;
	double number;
	struct str metric;
	int64_t range_ms;      /* 0: none */
	struct match *matches; /* of a metric; SERIES_LABELS at most */
	struct str *by;        /* of an aggregate; as many */
	uint32_t n_matches, n_by;
	int has_by;
	struct cond *left, *right;
};
