/* Loaded before the C library: every sync takes SYNC_MICROSECONDS longer, as on a disk that has no memory of its own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int file) {
  int (*sync_file)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  usleep((useconds_t)atoi(getenv("SYNC_MICROSECONDS")));
  return sync_file(file);
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
