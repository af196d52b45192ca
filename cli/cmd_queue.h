#pragma once
/* queue stats --watch, in a file of its own. */
#include "cli/cli.h"

int queue_watch(struct cli *cli, struct error *err);
