/* A folder: by another name, fsync, rename, and read back. */
#include "monitor/place-impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_AT_ONCE = 65536, DIR_MODE = 0750, FILE_MODE = 0640 };

static int
failed(struct error *err, const char *what, const char *path)
{
	int e = errno;

	return fail(err, FAULT_RETRY, strerrorname_np(e), "%s %s: %s", what,
	    path, strerror(e));
}

static int
write_all(int fd, struct str bytes)
{
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.s, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		bytes.s += n;
		bytes.n -= (size_t)n;
	}
	return 0;
}

/* What is in it as SHA-256; a file that can't be read has none. */
static void
sha256_of(int at, const char *file, char hex[SHA256_HEX])
{
	char piece[READ_AT_ONCE];
	int fd = openat(at, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	void *sha = sha256_begin();
	ssize_t n;

	while (fd >= 0 && (n = read(fd, piece, sizeof(piece))) > 0)
		sha256_add(sha, (struct str){ piece, (size_t)n });
	sha256_end(sha, hex);
	if (fd >= 0)
		close(fd);
}

/* By another name first, which nobody takes for a part. */
static int
write_file(int at, const char *dir, const char *file, struct str bytes,
    struct error *err)
{
	char other[NAME_MAX + 1], put[SHA256_HEX] = "", got[SHA256_HEX] = "";
	int fd, r;

	snprintf(other, sizeof(other), "%s.tmp", file);
	fd = openat(at, other,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (fd < 0)
		return failed(err, "make a file in", dir);
	r = write_all(fd, bytes) < 0 || fsync(fd) < 0 ? -1 : 0;
	if (r < 0)
		failed(err, "write to", dir);
	if (close(fd) < 0 && r == 0)
		r = failed(err, "write to", dir);
	if (r == 0 && (renameat(at, other, at, file) < 0 || fsync(at) < 0))
		r = failed(err, "name a file in", dir);
	if (r < 0) {
		unlinkat(at, other, 0);
		return -1;
	}
	sha256_hex(bytes, put);
	sha256_of(at, file, got);
	if (strcmp(put, got) != 0)
		return fail(err, FAULT_RETRY, "EIO",
		    "%s/%s reads otherwise than it was written", dir, file);
	return 0;
}

/* The folder itself is the operator's to make. */
static int
open_dir(const struct place *p, const char *dir, int make, struct error *err)
{
	int top = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), at;

	if (top < 0)
		return failed(err, "open", p->folder);
	if (make && mkdirat(top, dir, DIR_MODE) == 0)
		fsync(top);
	at = openat(top, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (at < 0)
		failed(err, "make a folder in", p->folder);
	close(top);
	return at;
}

void
folder_put(struct place *p, const char *dir, const char *file)
{
	int at = open_dir(p, dir, 1, &p->err);

	if (at >= 0) {
		write_file(at, p->folder, file, p->bytes, &p->err);
		close(at);
	}
	loop_defer_call(p->told);
}

/* Its bytes, where it is one of the files; -1 where it isn't. */
static int64_t
listed(struct str files, const char *file)
{
	size_t n = strlen(file);

	for (const char *s = files.s; n > 0 && s != NULL && *s != '\0';) {
		if (strncmp(s, file, n) == 0 && s[n] == ' ')
			return strtoll(s + n + 1, NULL, 10);
		s = strchr(s, '\n');
		s = s != NULL ? s + 1 : NULL;
	}
	return -1;
}

int
place_has(const struct place *p, const char *dir, struct str files)
{
	int at, all = 1;

	if (p->folder == NULL || files.n == 0)
		return 1;
	at = open_dir(p, dir, 0, NULL);
	for (const char *s = files.s; at >= 0 && all && *s != '\0';) {
		size_t n = strcspn(s, " ");
		char file[NAME_MAX + 1] = "";
		struct stat st;

		if (n < sizeof(file))
			memcpy(file, s, n);
		all = fstatat(at, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_size == listed(files, file);
		s += strcspn(s, "\n");
		s += *s == '\n';
	}
	if (at >= 0)
		close(at);
	return at >= 0 && all;
}

static int
ends(const char *s, const char *with)
{
	size_t n = strlen(s), m = strlen(with);

	return n > m && strcmp(s + n - m, with) == 0;
}

void
place_sweep(const struct place *p, const char *dir, struct str files)
{
	struct dirent *e;
	DIR *d;
	int at;

	if (p->folder == NULL)
		return;
	at = open_dir(p, dir, 0, NULL);
	d = at >= 0 ? fdopendir(at) : NULL;
	if (d == NULL) {
		if (at >= 0)
			close(at);
		return;
	}
	while ((e = readdir(d)) != NULL)
		if ((ends(e->d_name, ".ndjson.gz") &&
			listed(files, e->d_name) < 0) ||
		    ends(e->d_name, ".ndjson.gz.tmp"))
			unlinkat(at, e->d_name, 0);
	closedir(d);
}
