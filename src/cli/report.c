// SPDX-License-Identifier: MIT
// One line on stderr for what went wrong, in the words of the command line.
#include "cli/command.h"
#include "cli/terminal.h"

#include <stdio.h>
#include <string.h>

static int say(const rill_error *err, int status) {
    rill__progress_clear();
    fprintf(stderr, "rill: %s\n", err->message);
    return status;
}

int rill__report(const rill_error *err) {
    rill_error shown = *err;
    // The library names its fields, "sink_scale: ..."; here they are options, "--sink-scale: ...".
    size_t length = strcspn(shown.message, ":");
    char name[32] = "";
    if (shown.message[length] && length < sizeof name) {
        for (size_t i = 0; i < length; i++)
            name[i] = shown.message[i] == '_' ? '-' : shown.message[i];
        name[length] = 0;
    }
    if (!strcmp(name, "key-type") || !strcmp(name, "value-type"))
        snprintf(name, sizeof name, "cache-type");
    if (!strcmp(name, "start")) snprintf(name, sizeof name, "position");
    bool option = false;
    for (const rill__option *o = rill__options; o->name; o++)
        option = option || !strcmp(o->name, name);
    if (err->status == RILL_EINVAL && option) {
        // A message about an option may end with the name of another that would allow it.
        static const char hint[] = " over_context";
        const char *rest = err->message + length;
        size_t kept = strlen(rest);
        bool hints = kept >= strlen(hint) && !strcmp(rest + kept - strlen(hint), hint);
        if (hints) kept -= strlen(hint);
        rill__fail(&shown, err->status, "--%s%.*s%s", name, (int)kept, rest,
                   hints ? " --over-context" : "");
    }
    return say(&shown, err->status == RILL_EINVAL         ? RILL_EXIT_USAGE
                       : err->status == RILL_EINTERRUPTED ? RILL_EXIT_INTERRUPTED
                                                          : RILL_EXIT_FAILED);
}

int rill__usage(const char *format, ...) {
    rill_error err;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err.message, sizeof err.message, format, arguments);
    va_end(arguments);
    return say(&err, RILL_EXIT_USAGE);
}

void rill__warn(const char *format, ...) {
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fprintf(stderr, "rill: warning: %s\n", message);
}
