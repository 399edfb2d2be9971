/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_line - options and commands.
 *
 * Two passes of getopt_long: the first stops at the command, the second reads what is behind it.
 */
#include "cmd_line.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/nearest.h"

/* A configuration is text that somebody wrote; /dev/zero is none. */
#define CONFIG_SIZE_MAX (16u << 20)

enum {
	OPTION_CONFIG_FILE = 256,
	OPTION_CONFIG_CONTENT,
	OPTION_LOG_FILE,
	OPTION_LOG_FORMAT,
	OPTION_LOG_ERROR_FILE,
	OPTION_LOG_ROLLING,
	OPTION_LOG_MAX_SIZE,
	OPTION_LOG_MAX_BACKUPS,
};

/* clang-format off */
#define GLOBAL_OPTIONS \
	{ "help", no_argument, NULL, 'h' }, \
	{ "version", no_argument, NULL, 'V' }, \
	{ "log-file", required_argument, NULL, OPTION_LOG_FILE }, \
	{ "log-format", required_argument, NULL, OPTION_LOG_FORMAT }, \
	{ "log-error-file", required_argument, NULL, OPTION_LOG_ERROR_FILE }, \
	{ "log-rolling", no_argument, NULL, OPTION_LOG_ROLLING }, \
	{ "log-max-size", required_argument, NULL, OPTION_LOG_MAX_SIZE }, \
	{ "log-max-backups", required_argument, NULL, OPTION_LOG_MAX_BACKUPS }

static const struct option global_options[] = {
	GLOBAL_OPTIONS,
	{ 0 },
};

static const struct option config_options[] = {
	{ "config-file", required_argument, NULL, OPTION_CONFIG_FILE },
	{ "config-content", required_argument, NULL, OPTION_CONFIG_CONTENT },
	GLOBAL_OPTIONS,
	{ 0 },
};
/* clang-format on */

/* The first character: stop at what is no option. The second: tell a missing argument from an unknown option. */
#define GLOBAL_LETTERS "+:hV"
#define CONFIG_LETTERS "+:c:hV"

static const struct {
	const char *name;
	enum command command;
	bool later;
} commands[] = {
	{ "launch", COMMAND_LAUNCH, false },
	{ "check", COMMAND_CHECK, false },
	{ "lab", COMMAND_LAB, false },
	{ "doctor", COMMAND_DOCTOR, false },
	{ "precheck", COMMAND_DOCTOR, false },
	{ "iptables", COMMAND_IPTABLES, false },
	{ "cleanup-iptables", COMMAND_CLEANUP_IPTABLES, false },
	{ "help", COMMAND_HELP, false },
	{ "exec", COMMAND_HELP, true },
	{ "tools", COMMAND_HELP, true },
};

static int once(const char **to, const char *value, const char *option, struct err *e)
{
	if (*to != NULL)
		return err_set(e, ERR_CONFIG, "%s is there twice", option);
	*to = value;
	return 0;
}

static int take_option(int option, const char *value, struct cmd_line *line, struct err *e)
{
	switch (option) {
	case 'c':
	case OPTION_CONFIG_FILE:
		return once(&line->config_file, value, "--config-file", e);
	case OPTION_CONFIG_CONTENT:
		return once(&line->config_content, value, "--config-content", e);
	case OPTION_LOG_FILE:
		return once(&line->log.file, value, "--log-file", e);
	case OPTION_LOG_FORMAT:
		return once(&line->log.format, value, "--log-format", e);
	case OPTION_LOG_ERROR_FILE:
		return once(&line->log.error_file, value, "--log-error-file", e);
	case OPTION_LOG_ROLLING:
		line->log.rolling = true;
		return 0;
	case OPTION_LOG_MAX_SIZE:
		return once(&line->log.max_size, value, "--log-max-size", e);
	case OPTION_LOG_MAX_BACKUPS:
		return once(&line->log.max_backups, value, "--log-max-backups", e);
	}
	return err_set(e, ERR_CONFIG, "unknown option");
}

static bool is_known_name(const char *argument, const struct option *options)
{
	size_t len = strcspn(argument, "=");

	for (const struct option *o = options; o->name != NULL; o++) {
		if (strncmp(o->name, argument, len) == 0 && o->name[len] == '\0')
			return true;
	}
	return false;
}

/* Behind getopt's '?' or ':'; the argument it choked on. */
static int refuse_option(int found, const char *argument, struct err *e)
{
	bool long_option = strncmp(argument, "--", 2) == 0;

	if (found == ':' && long_option)
		return err_set(e, ERR_CONFIG, "%s needs a value", argument);
	if (found == ':')
		return err_set(e, ERR_CONFIG, "-%c needs a value", optopt);
	if (long_option && optopt != 0)
		return err_set(e, ERR_CONFIG, "%s takes no value", argument);
	if (long_option && is_known_name(argument + 2, config_options))
		return err_set(e, ERR_CONFIG, "%s belongs behind the command: tng launch %s ...", argument, argument);
	if (long_option)
		return err_set(e, ERR_CONFIG, "unknown option %s", argument);
	if (optopt == 'c')
		return err_set(e, ERR_CONFIG, "-c belongs behind the command: tng launch -c FILE");
	return err_set(e, ERR_CONFIG, "unknown option -%c", optopt);
}

/* Stops at the first argument that is no option: optind. A wish for help or the version ends the reading. */
static int read_options(int argc, char **argv, const char *letters, const struct option *options, struct cmd_line *line,
			bool *ended, struct err *e)
{
	*ended = false;
	opterr = 0;
	optind = 0; /* glibc: begin anew */
	for (;;) {
		int option = getopt_long(argc, argv, letters, options, NULL);

		if (option == -1)
			return 0;
		if (option == '?' || option == ':')
			return refuse_option(option, argv[optind - 1], e);
		if (option == 'h' || option == 'V') {
			line->command = option == 'h' ? COMMAND_HELP : COMMAND_VERSION;
			*ended = true;
			return 0;
		}
		if (take_option(option, optarg, line, e) != 0)
			return -1;
	}
}

static int refuse_command(const char *name, struct err *e)
{
	const char *names[ARRAY_SIZE(commands)];
	const char *nearest;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	nearest = nearest_name(name, names, ARRAY_SIZE(names));
	if (nearest != NULL)
		return err_set(e, ERR_CONFIG, "unknown command \"%s\", did you mean \"%s\"?", name, nearest);
	return err_set(e, ERR_CONFIG, "unknown command \"%s\"", name);
}

static int find_command(const char *name, struct cmd_line *line, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (commands[i].later)
			return err_set(e, ERR_CONFIG, "not supported yet: tng %s", name);
		line->command = commands[i].command;
		return 0;
	}
	return refuse_command(name, e);
}

static int read_config_command(int argc, char **argv, struct cmd_line *line, struct err *e)
{
	const char *name = argv[0];
	bool ended;

	if (read_options(argc, argv, CONFIG_LETTERS, config_options, line, &ended, e) != 0)
		return -1;
	if (ended) {
		line->topic = name;
		return 0;
	}
	if (optind < argc)
		return err_set(e, ERR_CONFIG, "unexpected argument \"%s\"", argv[optind]);
	if (line->config_file != NULL && line->config_content != NULL)
		return err_set(e, ERR_CONFIG, "write --config-file or --config-content, not both");
	if (line->config_file == NULL && line->config_content == NULL)
		return err_set(e, ERR_CONFIG, "tng %s needs --config-file FILE or --config-content JSON", name);
	return 0;
}

static int read_topic(int argc, char **argv, struct cmd_line *line, struct err *e)
{
	struct cmd_line ignored = { 0 };

	if (argc == 1)
		return 0;
	if (argc > 2)
		return err_set(e, ERR_CONFIG, "unexpected argument \"%s\"", argv[2]);
	if (find_command(argv[1], &ignored, e) != 0)
		return -1;
	line->topic = ignored.command == COMMAND_HELP ? NULL : argv[1];
	return 0;
}

int cmd_line_parse(int argc, char **argv, struct cmd_line *line, struct err *e)
{
	bool ended;
	int first;

	*line = (struct cmd_line){ 0 };
	if (read_options(argc, argv, GLOBAL_LETTERS, global_options, line, &ended, e) != 0)
		return -1;
	if (ended)
		return 0;
	first = optind;
	if (first >= argc)
		return err_set(e, ERR_CONFIG, "no command");
	if (find_command(argv[first], line, e) != 0)
		return -1;
	switch (line->command) {
	case COMMAND_LAUNCH:
	case COMMAND_CHECK:
		return read_config_command(argc - first, argv + first, line, e);
	case COMMAND_LAB:
	case COMMAND_DOCTOR:
	case COMMAND_IPTABLES:
	case COMMAND_CLEANUP_IPTABLES:
		line->rest_count = argc - first;
		line->rest = argv + first;
		return 0;
	case COMMAND_HELP:
		return read_topic(argc - first, argv + first, line, e);
	case COMMAND_VERSION:
		break;
	}
	return 0;
}

static int read_file(const char *path, struct buf *text, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	int rc = 0;

	if (fd < 0)
		return err_errno(e, ERR_CONFIG, "open %s", path);
	do {
		uint8_t *to = buf_reserve(text, 65536);

		n = read(fd, to, 65536);
		if (n > 0)
			text->len += (size_t)n;
		if (text->len > CONFIG_SIZE_MAX) {
			rc = err_set(e, ERR_LIMIT, "%s is longer than %u MiB", path, CONFIG_SIZE_MAX >> 20);
			break;
		}
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		rc = err_errno(e, ERR_CONFIG, "read %s", path);
	close(fd);
	return rc;
}

struct config *cmd_line_load(const struct cmd_line *line, struct config_report *report, struct err *e)
{
	struct buf text = { 0 };
	struct config *c = NULL;

	*report = (struct config_report){ 0 };
	if (line->config_content != NULL) {
		c = config_load(bytes_str(line->config_content), "--config-content", report);
	} else {
		if (read_file(line->config_file, &text, e) != 0)
			goto out;
		c = config_load(buf_bytes(&text), line->config_file, report);
	}
	if (c != NULL && !config_check_files(c, report)) {
		config_free(c);
		c = NULL;
	}
	if (c == NULL)
		err_set(e, ERR_CONFIG, "%zu mistake%s in the configuration", report->errors.count,
			report->errors.count == 1 ? "" : "s");
out:
	buf_release_secret(&text); /* credentials of as_headers */
	return c;
}
