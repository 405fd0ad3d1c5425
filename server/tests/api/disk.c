/* A disk that breaks: what the files of a store answer to writes, syncs and opening, as a file says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static long counted;

static int real_open(const char *path, int flags, mode_t mode) {
    REAL(int, "open", const char *, int, ...);
    return real(path, flags, mode);
}

/* The letter of the fault, and the number behind it. */
static char fault(long *number) {
    char text[32] = "";
    const char *path = getenv("DISK_FAULT");
    int fd = path ? real_open(path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return 0;
    *number = atol(text + 1);
    return text[0];
}

static int is_store(const char *path) {
    const char *wanted = getenv("DISK_FILES");
    return wanted && strstr(path, wanted) != NULL;
}

static int of_store(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_store(path);
}

/* Sets errno and says so when bytes up to `end` must not be written. */
static int refuses(int fd, off_t end) {
    long number = 0;
    int before = errno;
    char what = fault(&number);
    if (!what || !of_store(fd)) return errno = before, 0;
    struct stat facts;
    /* a full disk writes over what is there */
    if ((what == 'f' || what == 'q') && fstat(fd, &facts) == 0 && end > facts.st_size)
        return errno = what == 'q' ? EDQUOT : ENOSPC, 1;
    if (what == 'r') return errno = EROFS, 1;
    if (what == 'W' && __sync_add_and_fetch(&counted, 1) >= number) kill(getpid(), SIGKILL);
    return errno = before, 0;
}

static int syncs(int fd) {
    long number = 0;
    int before = errno;
    char what = fault(&number);
    if (!what || !of_store(fd)) return errno = before, 1;
    if (what == 's') return errno = EIO, 0;
    if (what == 'S' && __sync_add_and_fetch(&counted, 1) >= number) kill(getpid(), SIGKILL);
    return errno = before, 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at >= 0 && refuses(fd, at + (off_t)count)) return -1;
    return real(fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return refuses(fd, at + (off_t)count) ? -1 : real(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    return refuses(fd, at + (off_t)count) ? -1 : real(fd, bytes, count, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    off_t end = at;
    for (int part = 0; part < count; part++) end += (off_t)parts[part].iov_len;
    return refuses(fd, end) ? -1 : real(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(ssize_t, "pwritev64", int, const struct iovec *, int, off_t);
    off_t end = at;
    for (int part = 0; part < count; part++) end += (off_t)parts[part].iov_len;
    return refuses(fd, end) ? -1 : real(fd, parts, count, at);
}
int posix_fallocate(int fd, off_t at, off_t count) {
    REAL(int, "posix_fallocate", int, off_t, off_t);
    return refuses(fd, at + count) ? errno : real(fd, at, count);
}
int fsync(int fd) {
    REAL(int, "fsync", int);
    return syncs(fd) ? real(fd) : -1;
}
int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return syncs(fd) ? real(fd) : -1;
}

static int opens(const char *path, int flags, mode_t mode) {
    long number = 0;
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (writes && is_store(path) && fault(&number) == 'r') return errno = EROFS, -1;
    return real_open(path, flags, mode);
}
int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(rest, int) : 0;
    va_end(rest);
    return opens(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(rest, int) : 0;
    va_end(rest);
    return opens(path, flags, mode);
}
