/* As recorder.py, in C:  recorder FILE [PHASE=DECISION]... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const phases[] = {
    "connect", "helo",      "ehlo",   "starttls", "auth", "mail-from", "rcpt-to",
    "data",    "data-line", "commit", "rset",     "quit", "noop"};

static FILE *record;

static void say(const char *line) {
  fprintf(record, "> %s\n", line);
  fflush(record);
  printf("%s\n", line);
  fflush(stdout);
}

static void register_all(void) {
  char line[64];
  say("register|report|smtp-in|*");
  say("register|report|smtp-out|*");
  for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
    snprintf(line, sizeof line, "register|filter|smtp-in|%s", phases[i]);
    say(line);
  }
  say("register|ready");
}

/* Cuts the next field off *rest. */
static char *field(char **rest) {
  char *begin = *rest;
  char *bar = strchr(begin, '|');
  if (bar == NULL) {
    *rest = begin + strlen(begin);
  } else {
    *bar = '\0';
    *rest = bar + 1;
  }
  return begin;
}

static const char *decision(const char *phase, char **words) {
  size_t size = strlen(phase);
  for (; *words != NULL; words++)
    if (strncmp(*words, phase, size) == 0 && (*words)[size] == '=')
      return *words + size + 1;
  return "proceed";
}

static void answer(char *line, char **words) {
  char *rest = line;
  if (strcmp(field(&rest), "filter") != 0) return;
  field(&rest); /* version */
  field(&rest); /* time */
  field(&rest); /* smtp-in */
  const char *phase = field(&rest);
  const char *session = field(&rest);
  const char *token = field(&rest);
  int text = strcmp(phase, "data-line") == 0;
  const char *last = text ? rest : decision(phase, words);
  size_t size = strlen(session) + strlen(token) + strlen(last) + 32;
  char *reply = malloc(size);
  if (reply == NULL) exit(1);
  snprintf(reply, size, "filter-%s|%s|%s|%s", text ? "dataline" : "result",
           session, token, last);
  say(reply);
  free(reply);
}

int main(int argc, char **argv) {
  char *line = NULL;
  size_t room = 0;
  ssize_t size;
  if (argc < 2 || (record = fopen(argv[1], "a")) == NULL) return 2;
  while ((size = getline(&line, &room, stdin)) > 0) {
    if (line[size - 1] == '\n') line[size - 1] = '\0';
    fprintf(record, "< %s\n", line);
    fflush(record);
    if (strcmp(line, "config|ready") == 0) register_all();
    answer(line, argv + 2);
  }
  return 0;
}
