#pragma once
/*
 * A stable sort of pointers by merging, without the heap (which qsort of the C
 * library takes for large arrays). scratch has room for n pointers.
 */
#include <stddef.h>

typedef int sort_cmp_fn(const void *x, const void *y, void *arg);

void sort_stable(
    void **items, void **scratch, size_t n, sort_cmp_fn *cmp, void *arg);
