/* Faults below the product, loaded with LD_PRELOAD: a store whose writes fail, and a clock that
 * jumps.
 *
 * ENDURE_STORE   part of a path; files whose path has it belong to the store
 * ENDURE_ONE_IN  one file in this many fails as it is opened or written, and one rename, one link
 * ENDURE_SEED    which of them
 * ENDURE_ERRNO   how they fail
 * ENDURE_CLOCK   file of one 64-bit integer: seconds by which the clock is ahead, read at each call
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 4096

static const char *store;
static unsigned one_in;
static uint64_t seed;
static int failure;
static atomic_uint operations;
static atomic_int until_failure[MAX_FD]; /* writes to a file until one fails; 0 for none */
static const volatile int64_t *ahead;

static void *find(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Read the environment; a forked child calls it again. */
__attribute__((constructor)) void endure_configure(void) {
  const char *text = getenv("ENDURE_STORE");
  store = text && *text ? strdup(text) : NULL;
  one_in = (text = getenv("ENDURE_ONE_IN")) ? (unsigned)atoi(text) : 0;
  seed = (text = getenv("ENDURE_SEED")) ? strtoull(text, NULL, 10) : 0;
  failure = (text = getenv("ENDURE_ERRNO")) ? atoi(text) : EIO;
  atomic_store(&operations, 0);
  ahead = NULL;
  if ((text = getenv("ENDURE_CLOCK")) && *text) {
    int fd = open(text, O_RDONLY);
    if (fd >= 0) {
      void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
      if (found != MAP_FAILED) ahead = found;
      close(fd);
    }
  }
}

/* splitmix64 (Steele, Lea and Flood 2014), of the seed and the number of the operation. */
static uint64_t draw(void) {
  uint64_t x = seed + (atomic_fetch_add(&operations, 1) + 1) * 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

static int belongs(const char *path) { return one_in && store && path && strstr(path, store); }

/* Return whether this operation on the store fails. */
static int fails(const char *path) {
  if (!belongs(path) || draw() % one_in) return 0;
  errno = failure;
  return 1;
}

static int begin_file(const char *path, int flags, int fd) {
  if (fd < 0 || fd >= MAX_FD) return fd;
  atomic_store(&until_failure[fd], 0);
  if ((flags & O_ACCMODE) == O_RDONLY || !belongs(path)) return fd;
  uint64_t drawn = draw();
  if (drawn % one_in == 0) atomic_store(&until_failure[fd], 1 + (int)(drawn / one_in % 3));
  return fd;
}

static int write_fails(int fd) {
  if (fd < 0 || fd >= MAX_FD || !atomic_load(&until_failure[fd])) return 0;
  if (atomic_fetch_sub(&until_failure[fd], 1) > 1) return 0;
  atomic_store(&until_failure[fd], 0);
  errno = failure;
  return 1;
}

#define OPEN(name)                                                       \
  int name(const char *path, int flags, ...) {                           \
    static int (*real)(const char *, int, mode_t);                       \
    if (!real) real = find(#name);                                       \
    va_list list;                                                        \
    va_start(list, flags);                                               \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
    va_end(list);                                                        \
    return begin_file(path, flags, real(path, flags, mode));             \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                     \
  int name(int folder, const char *path, int flags, ...) {               \
    static int (*real)(int, const char *, int, mode_t);                  \
    if (!real) real = find(#name);                                       \
    va_list list;                                                        \
    va_start(list, flags);                                               \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
    va_end(list);                                                        \
    return begin_file(path, flags, real(folder, path, flags, mode));     \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
  static int (*real)(int);
  if (!real) real = find("close");
  if (fd >= 0 && fd < MAX_FD) atomic_store(&until_failure[fd], 0);
  return real(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = find("write");
  return write_fails(fd) ? -1 : real(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  static ssize_t (*real)(int, const struct iovec *, int);
  if (!real) real = find("writev");
  return write_fails(fd) ? -1 : real(fd, parts, count);
}

#define PWRITE(name)                                                     \
  ssize_t name(int fd, const void *data, size_t size, off64_t at) {      \
    static ssize_t (*real)(int, const void *, size_t, off64_t);          \
    if (!real) real = find(#name);                                       \
    return write_fails(fd) ? -1 : real(fd, data, size, at);              \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define MOVE(name)                                                       \
  int name(const char *from, const char *to) {                           \
    static int (*real)(const char *, const char *);                      \
    if (!real) real = find(#name);                                       \
    return fails(to) ? -1 : real(from, to);                              \
  }
MOVE(rename)
MOVE(link)

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  static int (*real)(int, const char *, int, const char *, int);
  if (!real) real = find("linkat");
  return fails(to) ? -1 : real(from_folder, from, to_folder, to, flags);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  static int (*real)(int, const char *, int, const char *);
  if (!real) real = find("renameat");
  return fails(to) ? -1 : real(from_folder, from, to_folder, to);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = find("clock_gettime");
  int code = real(clock, now);
  if (ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *ahead;
  return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = find("gettimeofday");
  int code = real(now, zone);
  if (ahead) now->tv_sec += *ahead;
  return code;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}
