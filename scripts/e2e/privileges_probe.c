// Run as a command of a user's: writes to the file that is its argument what it
// may do and what it has been left, one thing a line.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char** environ;

static void status(FILE* out) {
  char line[4096];
  FILE* in = fopen("/proc/self/status", "r");
  while (in != NULL && fgets(line, sizeof line, in) != NULL)
    fprintf(out, "status %s", line);
  if (in != NULL) fclose(in);
}

int main(int argc, char** argv) {
  char path[4096];
  // Before anything is opened here.
  int open_fds[4096], fds = 0;
  for (int fd = 0; fd < 4096; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) open_fds[fds++] = fd;
  }
  if (argc != 2) return 1;
  while (read(0, path, sizeof path) > 0) {
  }
  const mode_t mask = umask(077);
  FILE* out = fopen(argv[1], "w");
  if (out == NULL) return 1;
  status(out);
  for (int i = 0; i < fds; ++i) fprintf(out, "fd %d\n", open_fds[i]);
  for (char** one = environ; *one != NULL; ++one)
    fprintf(out, "env %s\n", *one);
  fprintf(out, "umask %o\n", mask);
  fprintf(out, "cwd %s\n", getcwd(path, sizeof path));
  fprintf(out, "tty %d\n", open("/dev/tty", O_RDWR) < 0 ? errno : 0);
  fprintf(out, "session %d\n", getsid(0) == getpgrp());
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
      fprintf(out, "signal %d\n", number);
  }
  sigset_t blocked;
  sigprocmask(SIG_SETMASK, NULL, &blocked);
  for (int number = 1; number < NSIG; ++number) {
    if (sigismember(&blocked, number) == 1)
      fprintf(out, "blocked %d\n", number);
  }
  struct rlimit limit;
  getrlimit(RLIMIT_CORE, &limit);
  fprintf(out, "core %lu %lu\n", (unsigned long)limit.rlim_cur,
          (unsigned long)limit.rlim_max);
  fprintf(out, "root %d\n", setuid(0) == 0 || setgid(0) == 0);
  return fclose(out);
}
