package web

import "strings"

// Quote writes a word as a POSIX shell reads it back.
func Quote(word string) string {
	if !strings.ContainsAny(word, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Quote writes a word for a command.
func (v *view) Quote(word string) string { return Quote(word) }

// Command is what a shell runs, one command a line, on the data folder of this server:
// berth itself looks in the default one. Whoever is not logged in is not told where the
// folder is.
func (v *view) Command(lines string) string {
	if v.site.config.DataFlag == "" || v.session == nil {
		return lines
	}
	commands := strings.Split(lines, "\n")
	for i, command := range commands {
		if strings.HasPrefix(command, "berth ") && !needsNoData(command) {
			commands[i] += v.site.config.DataFlag
		}
	}
	return strings.Join(commands, "\n")
}

// needsNoData reports whether a command has nothing to do with a data folder, or names
// one.
func needsNoData(command string) bool {
	return strings.HasPrefix(command, "berth cert device ") || strings.Contains(command, " --data ")
}
