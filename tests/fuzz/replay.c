/* Runs a fuzz target on the files of a folder: usage: replay-NAME FOLDER */
#include <dirent.h>

#include "tests/fuzz/fuzz.h"

static void
replay(const char *folder, const char *name)
{
	static uint8_t bytes[1 << 20];
	char path[4096];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rb");
	FUZZ_CHECK(f != NULL);
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	/* exactly as many bytes as the file has, so that ASan sees an overrun */
	uint8_t *copy = malloc(n > 0 ? n : 1);

	FUZZ_CHECK(copy != NULL);
	for (size_t i = 0; i < n; i++)
		copy[i] = bytes[i];
	printf("%s\n", name);
	fflush(stdout);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

int
main(int argc, char **argv)
{
	struct dirent *entry;
	int n = 0;
	DIR *folder;

	if (argc != 2 || (folder = opendir(argv[1])) == NULL) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	while ((entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.') {
			replay(argv[1], entry->d_name);
			n++;
		}
	closedir(folder);
	printf("%d inputs\n", n);
	return n > 0 ? 0 : 1;
}
