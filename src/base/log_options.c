/* SPDX-License-Identifier: Apache-2.0 */
/* log_options - which lines, how, and where to. */
#include "base/log_options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/size_text.h"

#define LEVELS "error, warn, info, debug, trace or off"
#define MAX_BACKUPS 10000

static void note(struct log_notes *notes, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The last place is for saying that there are more. */
static void note(struct log_notes *notes, const char *fmt, ...)
{
	va_list args;

	if (notes->count == ARRAY_SIZE(notes->items))
		return;
	va_start(args, fmt);
	notes->items[notes->count] = notes->count == ARRAY_SIZE(notes->items) - 1
					     ? mem_strdup("further directives are ignored too")
					     : mem_vformat(fmt, args);
	notes->count++;
	va_end(args);
}

void log_notes_release(struct log_notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		free(notes->items[i]);
	notes->count = 0;
}

void log_notes_write(struct log_notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		log_warn("%s", notes->items[i]);
	log_notes_release(notes);
}

/* NULL also for a variable that is there and empty. */
static const char *look_up(char *(*getenv_)(const char *), const char *name)
{
	const char *value = getenv_(name);

	return value == NULL || value[0] == '\0' ? NULL : value;
}

static bool parse_level(struct bytes word, enum log_level *level)
{
	/* Numbers as the filter of TNG 2 takes them. */
	static const struct {
		const char *word;
		enum log_level level;
	} words[] = { { "error", LOG_ERROR }, { "warn", LOG_WARN }, { "info", LOG_INFO }, { "debug", LOG_DEBUG },
		      { "trace", LOG_TRACE }, { "off", LOG_OFF },   { "0", LOG_OFF },	  { "1", LOG_ERROR },
		      { "2", LOG_WARN },      { "3", LOG_INFO },    { "4", LOG_DEBUG },	  { "5", LOG_TRACE } };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (word.len == strlen(words[i].word) &&
		    strncasecmp((const char *)word.data, words[i].word, word.len) == 0) {
			*level = words[i].level;
			return true;
		}
	}
	return false;
}

static struct bytes trim(struct bytes b)
{
	while (b.len > 0 && b.data[0] == ' ')
		b = bytes_of(b.data + 1, b.len - 1);
	while (b.len > 0 && b.data[b.len - 1] == ' ')
		b.len--;
	return b;
}

struct level_choice {
	enum log_level of_all;
	enum log_level of_tng;
	bool has_all;
	bool has_tng;
};

/* "debug", "tng=debug" or "tng" alone, which is everything. */
static bool take_directive(struct bytes directive, struct level_choice *choice)
{
	static const char target[] = "tng";
	const size_t target_len = sizeof(target) - 1;

	if (parse_level(directive, &choice->of_all)) {
		choice->has_all = true;
		return true;
	}
	if (directive.len < target_len || memcmp(directive.data, target, target_len) != 0)
		return false;
	directive = bytes_of(directive.data + target_len, directive.len - target_len);
	if (directive.len == 0)
		choice->of_tng = LOG_TRACE;
	else if (directive.data[0] != '=' ||
		 !parse_level(trim(bytes_of(directive.data + 1, directive.len - 1)), &choice->of_tng))
		return false;
	choice->has_tng = true;
	return true;
}

/* Directives for libraries that TNG 2 was made of are no mistake, but have no meaning here. */
static enum log_level parse_directives(const char *name, const char *text, struct log_notes *notes)
{
	struct level_choice choice = { LOG_INFO, LOG_INFO, false, false };

	for (;;) {
		size_t len = strcspn(text, ",");
		struct bytes directive = trim(bytes_of(text, len));

		if (directive.len > 0 && !take_directive(directive, &choice))
			note(notes, "%s: \"%.*s\" is ignored; known are " LEVELS ", and the same behind \"tng=\"", name,
			     (int)MIN(directive.len, (size_t)60), (const char *)directive.data);
		if (text[len] == '\0')
			break;
		text += len + 1;
	}
	return choice.has_tng ? choice.of_tng : choice.has_all ? choice.of_all : LOG_INFO;
}

static enum log_level resolve_level(char *(*getenv_)(const char *), struct log_notes *notes)
{
	static const char *const names[] = { "TNG_LOG", "RUST_LOG" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *text = look_up(getenv_, names[i]);

		if (text != NULL)
			return parse_directives(names[i], text, notes);
	}
	return LOG_INFO;
}

static bool parse_format(const char *text, enum log_format *format)
{
	*format = strcasecmp(text, "json") == 0 ? LOG_JSON : LOG_TEXT;
	return *format == LOG_JSON || strcasecmp(text, "text") == 0;
}

static int resolve_format(const char *option, const char *variable, struct log_options *out, struct log_notes *notes,
			  struct err *e)
{
	out->format = LOG_TEXT;
	if (option != NULL && !parse_format(option, &out->format))
		return err_set(e, ERR_CONFIG, "--log-format: expected text or json, found \"%s\"", option);
	if (variable != NULL && !parse_format(variable, &out->format))
		note(notes, "TNG_LOG_FORMAT: expected text or json, found \"%s\"; text is used", variable);
	return 0;
}

static bool resolve_rolling(bool option, const char *variable, struct log_notes *notes)
{
	if (variable == NULL)
		return option;
	if (strcasecmp(variable, "true") == 0 || strcmp(variable, "1") == 0)
		return true;
	if (strcasecmp(variable, "false") != 0 && strcmp(variable, "0") != 0)
		note(notes, "TNG_LOG_ROLLING: expected true or false, found \"%s\"; logs are not rolled", variable);
	return false;
}

static void resolve_max_size(const char *text, struct log_options *out, struct log_notes *notes)
{
	out->max_size = LOG_DEFAULT_MAX_SIZE;
	if (text == NULL)
		return;
	if (!out->rolling)
		note(notes, "--log-max-size has no effect without --log-rolling");
	else if (!size_text_parse(text, &out->max_size) || out->max_size == 0) {
		out->max_size = LOG_DEFAULT_MAX_SIZE;
		note(notes, "--log-max-size: expected a size such as 64MB, found \"%s\"; 64MB is used", text);
	}
}

static void resolve_max_backups(const char *text, struct log_options *out, struct log_notes *notes)
{
	unsigned long count;
	char *end;

	out->max_backups = LOG_DEFAULT_MAX_BACKUPS;
	if (text == NULL)
		return;
	if (!out->rolling) {
		note(notes, "--log-max-backups has no effect without --log-rolling");
		return;
	}
	errno = 0;
	count = strtoul(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && count <= MAX_BACKUPS)
		out->max_backups = (unsigned)count;
	else
		note(notes, "--log-max-backups: expected 0 to %d, found \"%s\"; %d is used", MAX_BACKUPS, text,
		     LOG_DEFAULT_MAX_BACKUPS);
}

/* A terminal, a pipe or a socket cannot be renamed out of the way. */
static bool can_roll(const char *path, struct log_notes *notes)
{
	struct stat st;

	if (path == NULL) {
		note(notes, "--log-rolling has no effect without --log-file");
		return false;
	}
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		note(notes, "--log-rolling has no effect: %s is not a file", path);
		return false;
	}
	return true;
}

static const char *either(const char *variable, const char *option)
{
	return variable != NULL ? variable : option;
}

int log_options_resolve(const struct log_request *request, char *(*getenv_)(const char *), struct log_options *out,
			struct log_notes *notes, struct err *e)
{
	*notes = (struct log_notes){ 0 };
	*out = (struct log_options){ .file = request->file };
	if (resolve_format(request->format, look_up(getenv_, "TNG_LOG_FORMAT"), out, notes, e) != 0)
		return -1;
	out->level = resolve_level(getenv_, notes);
	out->error_file = either(look_up(getenv_, "TNG_LOG_ERROR_FILE"), request->error_file);
	out->rolling = resolve_rolling(request->rolling, look_up(getenv_, "TNG_LOG_ROLLING"), notes);
	resolve_max_size(either(look_up(getenv_, "TNG_LOG_MAX_SIZE"), request->max_size), out, notes);
	resolve_max_backups(either(look_up(getenv_, "TNG_LOG_MAX_BACKUPS"), request->max_backups), out, notes);
	if (out->rolling)
		out->rolling = can_roll(out->file, notes);
	return 0;
}
