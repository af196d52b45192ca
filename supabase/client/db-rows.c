#include "core/log.h"
#include "supabase/client/db-impl.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* Seconds from 1970 to 2000. */
static const int64_t epoch_2000_ms = INT64_C(946684800000);

int64_t
db_time_to_ms(int64_t us)
{
	int64_t ms = us / 1000;

	return ms - (us % 1000 < 0) + epoch_2000_ms;
}

int64_t
db_time_from_ms(int64_t ms)
{
	return (ms - epoch_2000_ms) * 1000;
}

void
rows_deinit(struct rows *rows)
{
	PQclear(rows->res);
	rows->res = NULL;
	rows->n = 0;
}

static int
column_is(struct rows *rows, int i, const char *name)
{
	return i >= 0 && i < PQnfields(rows->res) &&
	    strcmp(PQfname(rows->res, i), name) == 0;
}

/* Readers mostly go through the columns in order. */
static int
column_find(struct rows *rows, const char *name)
{
	int n = PQnfields(rows->res);

	if (column_is(rows, rows->column, name))
		return rows->column;
	for (int i = 1; i <= n; i++) {
		int at = (rows->column + i) % n;

		if (column_is(rows, at, name))
			return rows->column = at;
	}
	log_error("db.no_such_column", S_("column", name));
	abort();
}

static const char *
cell(struct rows *rows, int row, const char *column, int *n)
{
	int at = column_find(rows, column);

	*n = PQgetlength(rows->res, row, at);
	return PQgetisnull(rows->res, row, at) ? NULL
					       : PQgetvalue(rows->res, row, at);
}

int
rows_null(struct rows *rows, int row, const char *column)
{
	int n;

	return cell(rows, row, column, &n) == NULL;
}

int64_t
rows_int(struct rows *rows, int row, const char *column)
{
	int n;
	const char *at = cell(rows, row, column, &n);
	uint16_t i2;
	uint32_t i4;
	uint64_t i8;

	if (at == NULL)
		return 0;
	switch (n) {
	case 1:
		return *at;
	case 2:
		memcpy(&i2, at, 2);
		return (int16_t)be16toh(i2);
	case 4:
		memcpy(&i4, at, 4);
		return (int32_t)be32toh(i4);
	default:
		memcpy(&i8, at, 8);
		return (int64_t)be64toh(i8);
	}
}

int
rows_bool(struct rows *rows, int row, const char *column)
{
	return rows_int(rows, row, column) != 0;
}

double
rows_double(struct rows *rows, int row, const char *column)
{
	int n;
	const char *at = cell(rows, row, column, &n);
	uint64_t i8;
	double v = 0;

	if (at != NULL && n == 8) {
		memcpy(&i8, at, 8);
		i8 = be64toh(i8);
		memcpy(&v, &i8, 8);
	}
	return v;
}

struct str
rows_str(struct rows *rows, int row, const char *column)
{
	int n;
	const char *at = cell(rows, row, column, &n);

	if (at == NULL)
		return (struct str){ NULL, 0 };
	if (PQftype(rows->res, rows->column) == DB_JSONB && n > 0)
		return (struct str){ at + 1, (size_t)n - 1 };
	return (struct str){ at, (size_t)n };
}

const char *
rows_text(struct rows *rows, int row, const char *column)
{
	return rows_str(rows, row, column).s;
}

int64_t
rows_time(struct rows *rows, int row, const char *column)
{
	return rows_int(rows, row, column);
}

int64_t
rows_time_ms(struct rows *rows, int row, const char *column)
{
	return db_time_to_ms(rows_int(rows, row, column));
}

int
rows_uuid(struct rows *rows, int row, const char *column, struct uuid *id)
{
	int n;
	const char *at = cell(rows, row, column, &n);

	if (at == NULL || n != (int)sizeof(id->bytes))
		return -1;
	memcpy(id->bytes, at, sizeof(id->bytes));
	return 0;
}

int
rows_group(struct rows *rows, int row, const char *column, struct uuid *id)
{
	struct uuid next;
	int n = 1;

	rows_uuid(rows, row, column, id);
	while (row + n < rows->n &&
	    rows_uuid(rows, row + n, column, &next) == 0 &&
	    uuid_cmp(id, &next) == 0)
		n++;
	return n;
}
