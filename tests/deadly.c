/* LD_PRELOAD: kills the process before the nth system call that changes something below $BELOW.

   $STEPS gets a line for each of them, $KILL_BEFORE is n, from 0. Half of the bytes of a write are
   written as a step of its own. And the clock is wrong by $CLOCK seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long taken;

static int below(const char *path) {
    const char *root = getenv("BELOW");
    return root && path && !strncmp(path, root, strlen(root));
}

static void step(const char *call, const char *path) {
    if (!below(path))
        return;
    pthread_mutex_lock(&lock);
    const char *kill_before = getenv("KILL_BEFORE"), *steps = getenv("STEPS");
    char line[PATH_MAX + 32];
    int size = snprintf(line, sizeof line, "%s %s\n", call, path + strlen(getenv("BELOW")));
    int log = syscall(SYS_openat, AT_FDCWD, steps, O_WRONLY | O_CREAT | O_APPEND, 0666);
    syscall(SYS_write, log, line, size);
    syscall(SYS_close, log);
    if (kill_before && *kill_before && taken == atol(kill_before))
        kill(getpid(), SIGKILL);
    taken++;
    pthread_mutex_unlock(&lock);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...) {                                                   \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = va_arg(more, mode_t);                                                        \
        va_end(more);                                                                              \
        if (flags & (O_CREAT | O_TRUNC))                                                           \
            step("open", path);                                                                    \
        return REAL(name)(path, flags, mode);                                                      \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                               \
    int name(int at, const char *path, int flags, ...) {                                           \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = va_arg(more, mode_t);                                                        \
        va_end(more);                                                                              \
        if (flags & (O_CREAT | O_TRUNC))                                                           \
            step("open", path);                                                                    \
        return REAL(name)(at, path, flags, mode);                                                  \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int file, const void *bytes, size_t size) {
    char name[64], path[PATH_MAX + 1];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, PATH_MAX);
    size_t half = 0;
    if (length > 0) {
        path[length] = 0;
        if (below(path)) {
            step("write", path);
            half = size / 2;
            syscall(SYS_write, file, bytes, half);
            step("write the rest", path);
        }
    }
    ssize_t rest = REAL(write)(file, (const char *)bytes + half, size - half);
    return rest < 0 ? rest : rest + (ssize_t)half;
}

#define ONE(name)                                                                                  \
    int name(const char *path) {                                                                   \
        step(#name, path);                                                                         \
        return REAL(name)(path);                                                                   \
    }
ONE(unlink)
ONE(rmdir)

#define TWO(name)                                                                                  \
    int name(const char *from, const char *to) {                                                   \
        step(#name, to);                                                                           \
        return REAL(name)(from, to);                                                               \
    }
TWO(rename)
TWO(link)

int unlinkat(int at, const char *path, int flags) {
    step("unlink", path);
    return REAL(unlinkat)(at, path, flags);
}

int linkat(int at, const char *from, int other, const char *to, int flags) {
    step("link", to);
    return REAL(linkat)(at, from, other, to, flags);
}

int renameat(int at, const char *from, int other, const char *to) {
    step("rename", to);
    return REAL(renameat)(at, from, other, to);
}

int mkdir(const char *path, mode_t mode) {
    step("mkdir", path);
    return REAL(mkdir)(path, mode);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int found = syscall(SYS_clock_gettime, clock, now);
    if (found == 0 && clock == CLOCK_REALTIME && getenv("CLOCK"))
        now->tv_sec += atol(getenv("CLOCK"));
    return found;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now)
        *now = precise.tv_sec;
    return precise.tv_sec;
}
