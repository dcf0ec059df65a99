package portal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template/parse"
	"unicode"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/allocation"
)

// TestMessages holds the translations against the texts that a reader can meet:
// each has one, none is of a text that is gone, and all take their arguments.
func TestMessages(t *testing.T) {
	texts := allTexts(t)
	english, french := languages[0].Messages(), languages[1].Messages()
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		translated, ok := french[text]
		if !ok {
			t.Errorf("no French for %q (%s)", text, texts[text])
			continue
		}
		for _, wrong := range mistakes(text, translated) {
			t.Errorf("French of %q: %s: %q", text, wrong, translated)
		}
	}
	for _, l := range languages {
		for text := range l.Messages() {
			if _, ok := texts[text]; !ok {
				t.Errorf("%s.json translates %q, which nothing says", l.Tag, text)
			}
		}
	}
	for text := range texts {
		if _, ok := english[text]; !ok && isValue(text) {
			t.Errorf("en.json has no words for %q", text)
		}
	}
}

// TestMessagesOfEveryKind makes sure that the texts of every kind are among those
// that TestMessages asks for: a reader of the program that finds nothing must not
// look like a program without texts.
func TestMessagesOfEveryKind(t *testing.T) {
	texts := allTexts(t)
	for _, example := range []string{
		"Save",                             // a text of a template
		"%d in all|%d in all",              // of a number
		"Linked IoT hubs",                  // given to the menu
		"the command",                      // given to a part that gives it on to another
		"Disconnected",                     // given to a part as a whole
		"Refused or failed",                // given to a chart
		"theme: dark",                      // a value
		"authentication: selfSigned",       // a value of the hub
		"reprovisionedToInitialAssignment", // a value of the provisioning service
		"Not found",                        // a text of the program
		"Never re-provision",               // a choice
		"Delete %d device?|Delete %d devices?",
		"Open the enrollment",                        // a remedy
		"This comma is too much: nothing follows it", // a mistake in JSON
		"There is no hub %q here",                    // a fault of the portal
		"There is no enrollment %q",                  // of provisioning
		"There is no device %q",                      // of the hub
		"secondary",                                  // a word of it
		"The device id is empty",                     // of its checks
		"allocation",                                 // a check that passes
		"migration",                                  // one that only fails
		"Correct the device's registration id",       // an advice
		"valid from %s to %s",                        // what is seen
		"Link a hub, or let the enrollment name one that is linked", // an advice given through a function
		"this holds no certificate",                                 // a certificate that can't be read
		"a key on the curve %s",                                     // why one is refused
		"The certificate has expired, and the device will be refused. Make a new one",
		"the device was deleted",                                                 // why a connection ended
		"Documents can't be written and wait: %v. Changes are refused meanwhile", // a condition of the server
		"keep-alive timeout",
		"byte %d is not UTF-8. Send it in UTF-8", // in JSON
		"a token starts with SharedAccessSignature and a space",
		"an unknown algorithm",
	} {
		if _, ok := texts[example]; !ok {
			t.Errorf("%q is not found among %d texts", example, len(texts))
		}
	}
}

// TestMessagesMistakes proves that a wrong translation is found.
func TestMessagesMistakes(t *testing.T) {
	for _, example := range []struct {
		text, translated string
		ok               bool
	}{
		{"Save", "Enregistrer", true},
		{"Save", "", false},
		{"There is no device %q", "L'appareil %q n'existe pas", true},
		{"There is no device %q", "L'appareil n'existe pas", false},
		{"There is no device %q", "L'appareil %s n'existe pas", false},
		{"Delete it", "Le supprimer à 100 %", true},
		{"The %s is %.64q", "%.64[2]q est dans %[1]s", true},
		{"The %s is %.64q", "%[2]q est dans %[1]s", false},
		{"The %s is %.64q", "%s est %.64q", true},
		{"The %s is %.64q", "%.64q est %s", false},
		{"%d day|%d days", "%d jour|%d jours", true},
		{"%d day|%d days", "%d jours", false},
		{"%d day|%d days", "un jour|%d jours", false},
		{"Why?", "Pourquoi\u00a0?", true},
		{"Why?", "Pourquoi ?", false},
		{"Why?", "Pourquoi?", false},
		{"Why?|Why?", "Pourquoi ?|Pourquoi\u00a0?", false},
		{"the link", "l’adresse", false},
		{"“this”", "« ceci »", false},
	} {
		if wrong := mistakes(example.text, example.translated); (len(wrong) == 0) != example.ok {
			t.Errorf("mistakes(%q, %q) = %q", example.text, example.translated, wrong)
		}
	}
}

// verb is a verb of fmt with the number of its argument, where it has one.
var verb = regexp.MustCompile(`%([-+# 0]*\d*(?:\.\d+)?)(?:\[(\d+)\])?([a-zA-Z])`)

// verbs returns those of a format by the arguments that they show.
func verbs(format string) map[int]string {
	found, next := map[int]string{}, 1
	for _, parts := range verb.FindAllStringSubmatch(strings.ReplaceAll(format, "%%", ""), -1) {
		if n, err := strconv.Atoi(parts[2]); err == nil {
			next = n
		}
		found[next] += "%" + parts[1] + parts[3]
		next++
	}
	return found
}

var unspaced = regexp.MustCompile(`[ \pL\pN)"%][:;!?»](?:[ \n]|$)|« `)

// mistakes returns what is wrong with a translation into French.
func mistakes(text, translated string) (wrong []string) {
	if strings.TrimSpace(translated) == "" {
		wrong = append(wrong, "it is empty")
	}
	originals, halves := strings.Split(text, "|"), strings.Split(translated, "|")
	if len(originals) != len(halves) {
		return append(wrong, "it has not the same halves")
	}
	for i := range halves {
		if !maps.Equal(verbs(originals[i]), verbs(halves[i])) {
			wrong = append(wrong, "it has not the same arguments")
		}
		if bad := unspaced.FindString(halves[i]); bad != "" {
			wrong = append(wrong, "a no-break space is missing at "+strconv.Quote(bad))
		}
	}
	if strings.Contains(translated, "’") {
		wrong = append(wrong, "its apostrophe is not the plain one")
	}
	return wrong
}

// isValue reports whether a text is a value named with what it is of.
func isValue(text string) bool {
	return strings.HasPrefix(text, "theme: ") || strings.HasPrefix(text, "action: ") ||
		strings.HasPrefix(text, "kind: ") || strings.HasPrefix(text, "fault: ") ||
		strings.HasPrefix(text, "authentication: ")
}

// found are texts, each with a place that has it.
type found map[string]string

// allTexts returns every text that the portal translates.
func allTexts(t *testing.T) found {
	t.Helper()
	texts := found{}
	values := map[string][]string{"theme: %s": web.Themes}
	// Without DISCONNECT there is no reason but that of package io.
	texts[io.ErrUnexpectedEOF.Error()] = "why a connection ended"
	texts[credential.UsableKeys] = "what a check expects"
	texts["%s: %v"] = "what is wrong with a part of something"
	for _, kind := range document.Kinds() {
		texts[kind] = "what JSON must be"
	}

	for _, policy := range allocation.Policies() {
		texts[policy.Label()] = "allocation policies"
	}

	for _, folder := range []string{".", "web", "provisioningpages", "hubpages"} {
		readGo(t, folder, func(where string, node ast.Node) { portalTexts(texts, where, node) })
	}
	readGo(t, "../fault", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../audit", func(where string, node ast.Node) { constants(values, node) })
	readGo(t, "../contract", func(where string, node ast.Node) { constants(values, node) })
	readGo(t, "../server", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../provisioning/exchange", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../access", func(where string, node ast.Node) {
		if filepath.Base(where) == "policies.go" {
			faultTexts(texts, where, node)
		}
	})
	readGo(t, "../authority", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../issuance", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../provisioning/attempts", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		checkTexts(texts, where, node)
	})
	readGo(t, "../provisioning/allocation", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		checkTexts(texts, where, node)
	})
	readGo(t, "../provisioning/linkedhub", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../provisioning/guard", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../provisioning/inject", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		checkTexts(texts, where, node)
		kinds := map[string][]string{}
		constants(kinds, node)
		values["fault: %s"] = append(values["fault: %s"], kinds["kind: %s"]...)
	})
	readGo(t, "../provisioning", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		checkTexts(texts, where, node)
		constants(values, node)
	})
	readGo(t, "../provisioning/enroll", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		checkTexts(texts, where, node)
		warningTexts(texts, where, node)
		constants(values, node)
	})
	readGo(t, "../provisioning/tpm", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		checkTexts(texts, where, node)
	})
	readGo(t, "../provisioning/snapshot", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../attest", func(where string, node ast.Node) {
		reasonTexts(texts, where, node)
		checkTexts(texts, where, node)
		if base := filepath.Base(where); base == "tpm.go" || base == "signatures.go" {
			errorTexts(texts, where, node)
		}
		constants(values, node)
	})
	readGo(t, "../hub", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		constants(values, node)
	})
	readGo(t, "../hub/connection", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		if filepath.Base(where) == "presence.go" {
			errorTexts(texts, where, node)
		}
	})
	readGo(t, "../hub/identity", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		constants(values, node)
	})
	readGo(t, "../hub/query", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		queryTexts(texts, where, node)
	})
	readGo(t, "../hub/job", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		constants(values, node)
	})
	readGo(t, "../hub/c2d", func(where string, node ast.Node) {
		faultTexts(texts, where, node)
		constants(values, node)
	})
	readGo(t, "../hub/method", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../hub/telemetry", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../hub/configuration", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../hub/twin", func(where string, node ast.Node) { faultTexts(texts, where, node) })
	readGo(t, "../wire/mqtt", func(where string, node ast.Node) {
		if filepath.Base(where) == "errors.go" {
			errorTexts(texts, where, node)
		}
	})
	readGo(t, "../credential", func(where string, node ast.Node) {
		reasonTexts(texts, where, node)
		checkTexts(texts, where, node)
		if filepath.Base(where) == "container.go" {
			errorTexts(texts, where, node)
		}
	})
	readGo(t, "../backend", func(where string, node ast.Node) {
		if base := filepath.Base(where); base == "reach.go" || base == "client.go" {
			reasonTexts(texts, where, node)
			checkTexts(texts, where, node)
		}
	})
	readGo(t, "../document", func(where string, node ast.Node) {
		reasonTexts(texts, where, node)
		checkTexts(texts, where, node)
	})
	readGo(t, "../server", func(where string, node ast.Node) {
		conditionTexts(texts, where, node)
	})
	readTemplates(t, texts, values)
	return texts
}

// readGo hands over every node of a package's files, but for its tests.
func readGo(t *testing.T, folder string, visit func(where string, node ast.Node)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s has no Go files: %v", folder, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			visit(name, node)
			return true
		})
	}
}

// literal returns the text of a string that stands in the program, "" for what is
// made when it runs.
func literal(node ast.Expr) string {
	switch node := node.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(node.Value); err == nil && node.Kind == token.STRING {
			return text
		}
	case *ast.BinaryExpr:
		if left, right := literal(node.X), literal(node.Y); left != "" && right != "" {
			return left + right
		}
	}
	return ""
}

// add adds a text that has words.
func (f found) add(where string, node ast.Expr) {
	if text := literal(node); strings.ContainsFunc(verb.ReplaceAllString(text, ""),
		func(r rune) bool { return r >= 'A' }) {
		f[text] = where
	}
}

// called returns the name of the function that a node calls, with the package or
// receiver when that is a name.
func called(node ast.Node) (receiver, name string, args []ast.Expr) {
	call, ok := node.(*ast.CallExpr)
	if !ok {
		return "", "", nil
	}
	switch function := call.Fun.(type) {
	case *ast.Ident:
		return "", function.Name, call.Args
	case *ast.SelectorExpr:
		if of, ok := function.X.(*ast.Ident); ok {
			receiver = of.Name
		}
		return receiver, function.Sel.Name, call.Args
	}
	return "", "", nil
}

// faultTexts finds what faults say, and the words that they are given for it.
func faultTexts(texts found, where string, node ast.Node) {
	reasonTexts(texts, where, node)
	receiver, name, args := called(node)
	if name == "completeCertificate" || strings.EqualFold(name, "precondition") || name == "PreconditionOf" ||
		receiver == "fault" && name == "Word" {
		texts.add(where, args[0])
	}
	if len(args) >= 2 && name == "New" &&
		(receiver == "fault" || receiver == "" && filepath.Base(where) == "fault.go") {
		texts.add(where, args[1])
	}
}

// reasonTexts finds the reasons that faults quote.
func reasonTexts(texts found, where string, node ast.Node) {
	if receiver, name, args := called(node); receiver == "fault" && name == "NewReason" {
		texts.add(where, args[0])
	}
}

// queryTexts finds what is said of a query that can't be read.
func queryTexts(texts found, where string, node ast.Node) {
	switch _, name, args := called(node); {
	case name == "errorAt" && len(args) >= 2:
		texts.add(where, args[1])
	case name == "unexpected" && len(args) == 1:
		texts.add(where, args[0])
	case name == "locate" && len(args) == 3:
		texts.add(where, args[2])
	}
}

// conditionTexts finds what is said of what is wrong with the server.
func conditionTexts(texts found, where string, node ast.Node) {
	if _, name, args := called(node); name == "Raise" && len(args) >= 3 {
		texts.add(where, args[2])
	}
}

// checkTexts finds the names of the checks of a judgement, and what they say.
func checkTexts(texts found, where string, node ast.Node) {
	switch receiver, name, args := called(node); {
	case name == "Pass" && len(args) >= 2:
		texts.add(where, args[0])
		texts.add(where, args[1])
	case name == "Fail" && len(args) == 4, name == "NewFailure" && len(args) == 4:
		texts.add(where, args[0])
	case receiver == "fault" && (name == "Say" || name == "Word"):
		texts.add(where, args[0])
	}
}

// warningTexts finds what is said of a certificate that may be enrolled.
func warningTexts(texts found, where string, node ast.Node) {
	if _, name, args := called(node); name == "warn" && len(args) == 3 {
		texts.add(where, args[2])
	}
	if warning, ok := node.(*ast.CompositeLit); ok && isType(warning, "Warning") && len(warning.Elts) == 2 {
		texts.add(where, warning.Elts[1])
	}
}

func errorTexts(texts found, where string, node ast.Node) {
	if receiver, name, args := called(node); receiver == "errors" && name == "New" {
		texts.add(where, args[0])
	}
}

func isType(value *ast.CompositeLit, name string) bool {
	switch named := value.Type.(type) {
	case *ast.Ident:
		return named.Name == name
	case *ast.SelectorExpr:
		return named.Sel.Name == name
	}
	return false
}

// portalTexts finds the texts of the portal's own program.
func portalTexts(texts found, where string, node ast.Node) {
	faultTexts(texts, where, node)
	switch _, name, args := called(node); name {
	case "T", "N":
		texts.add(where, args[0])
	case "ProblemAt":
		texts.add(where, args[2])
	}
	value, ok := node.(*ast.CompositeLit)
	if !ok {
		return
	}
	choiceTexts(texts, where, value)
	for i, element := range value.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			name, _ := pair.Key.(*ast.Ident)
			if isType(value, "Deletion") &&
				slices.Contains([]string{"Title", "Explain", "Used", "Force", "Done", "Button"}, name.Name) {
				texts.add(where, pair.Value)
			}
		} else if isType(value, "remedy") && i == 1 {
			texts.add(where, element)
		}
	}
}

// choiceTexts finds the texts of choices that a form offers: a list of structures that
// have a Text.
func choiceTexts(texts found, where string, list *ast.CompositeLit) {
	array, ok := list.Type.(*ast.ArrayType)
	if !ok {
		return
	}
	at := -1 // of Text, where fields have no names
	if structure, ok := array.Elt.(*ast.StructType); ok {
		var names []string
		for _, field := range structure.Fields.List {
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
		at = slices.Index(names, "Text")
	}
	for _, element := range list.Elts {
		choice, ok := element.(*ast.CompositeLit)
		if !ok {
			continue
		}
		for i, value := range choice.Elts {
			if pair, ok := value.(*ast.KeyValueExpr); !ok && i == at {
				texts.add(where, value)
			} else if name, named := choiceKey(pair); named && name == "Text" {
				texts.add(where, pair.Value)
			}
		}
	}
}

func choiceKey(pair *ast.KeyValueExpr) (name string, ok bool) {
	if pair == nil {
		return "", false
	}
	key, ok := pair.Key.(*ast.Ident)
	if !ok {
		return "", false
	}
	return key.Name, true
}

// constants collects the values that templates translate, under the format that
// names them.
func constants(values map[string][]string, node ast.Node) {
	spec, ok := node.(*ast.ValueSpec)
	if !ok {
		return
	}
	named, ok := spec.Type.(*ast.Ident)
	if !ok {
		return
	}
	format := map[string]string{
		"Status": "%s", "RegistrationStatus": "%s", "Substatus": "%s", "ProvisioningStatus": "%s", "Outcome": "%s",
		"DeviceStatus":       "%s",
		"AuthenticationType": "authentication: %s",
		"Action":             "action: %s", "Kind": "kind: %s",
	}[named.Name]
	for _, value := range spec.Values {
		if text := literal(value); format != "" && text != "" {
			values[format] = append(values[format], text)
		}
	}
}

// dynamic are the texts that templates take from the data of their page, which
// the program has in the places that the functions above look at.
var dynamic = []string{
	".Name", ".Text", ".", // of a check or difference; of a choice, remedy or warning; an advice or reason
	".Data.Title", ".Data.Explain", ".Data.Used", ".Data.Force", ".Data.Button", ".Data.Deletion.Done", // of a deletion
}

// readTemplates adds the texts of the templates. values are those that each
// format can have.
func readTemplates(t *testing.T, texts found, values map[string][]string) {
	t.Helper()
	trees := map[string]*parse.Tree{} // by page and block
	for name, page := range newFixture(t).Templates() {
		for _, block := range page.Templates() {
			if block.Tree != nil && block.Tree.Root != nil {
				trees[name+" "+block.Name()] = block.Tree
			}
		}
	}
	// What a block translates of its data, its callers give it as args, or give
	// on to it as they got it.
	wanted := map[string]map[string]bool{}
	for again := true; again; {
		again = false
		for _, tree := range trees {
			want := func(name string) {
				if wanted[tree.Name] == nil {
					wanted[tree.Name] = map[string]bool{}
				}
				again = again || !wanted[tree.Name][name]
				wanted[tree.Name][name] = true
			}
			walk(tree.Root, func(node parse.Node) {
				switch node := node.(type) {
				case *parse.CommandNode:
					if text := translated(node); text != nil {
						if name, ok := strings.CutPrefix(strings.TrimPrefix(text.String(), "$"), ".Data."); ok &&
							unicode.IsLower(rune(name[0])) {
							want(name)
						}
					}
				case *parse.TemplateNode:
					if node.Pipe != nil && node.Pipe.String() == "." {
						for name := range wanted[node.Name] {
							want(name)
						}
					}
				}
			})
		}
	}
	for where, tree := range trees {
		walk(tree.Root, func(node parse.Node) {
			switch node := node.(type) {
			case *parse.CommandNode:
				text := translated(node)
				if text == nil {
					return
				}
				switch text := text.(type) {
				case *parse.StringNode:
					texts[text.Text] = where
				case *parse.PipeNode:
					format, ok := text.Cmds[0].Args[1].(*parse.StringNode)
					if !ok || len(values[format.Text]) == 0 {
						t.Errorf("%s: what values can %s have?", where, text)
						return
					}
					for _, value := range values[format.Text] {
						texts[strings.Replace(format.Text, "%s", value, 1)] = where
					}
				default:
					name := strings.TrimPrefix(text.String(), "$")
					given := wanted[tree.Name][strings.TrimPrefix(name, ".Data.")] ||
						wanted[tree.Name][strings.TrimPrefix(name, ".Data")]
					if !given && !slices.Contains(dynamic, name) {
						t.Errorf("%s: where does the text %s come from?", where, text)
					}
				}
			case *parse.TemplateNode:
				given(texts, where, node, wanted[node.Name])
			}
		})
	}
}

// given adds the texts that one block gives to another.
func given(texts found, where string, node *parse.TemplateNode, wanted map[string]bool) {
	if node.Pipe == nil {
		return
	}
	walk(node.Pipe, func(inner parse.Node) {
		command, ok := inner.(*parse.CommandNode)
		if !ok {
			return
		}
		switch args := command.Args; args[0].String() {
		case "of":
			if text, ok := args[2].(*parse.StringNode); ok { // translated as a whole
				texts[text.Text] = where
			}
		case "args":
			for i := 1; i+1 < len(args); i += 2 {
				name, _ := args[i].(*parse.StringNode)
				if text, ok := args[i+1].(*parse.StringNode); ok && wanted[name.Text] && text.Text != "" {
					texts[text.Text] = where
				}
			}
		}
	})
}

// translated returns what a command of a template gives to T or N, or nil.
func translated(command *parse.CommandNode) parse.Node {
	if len(command.Args) < 2 {
		return nil
	}
	var names []string
	switch function := command.Args[0].(type) {
	case *parse.FieldNode:
		names = function.Ident
	case *parse.VariableNode:
		names = function.Ident[1:]
	}
	if len(names) == 1 && (names[0] == "T" || names[0] == "N") {
		return command.Args[1]
	}
	return nil
}

// walk visits the nodes of a template.
func walk(node parse.Node, visit func(parse.Node)) {
	visit(node)
	branch := func(b parse.BranchNode) {
		walk(b.Pipe, visit)
		walk(b.List, visit)
		if b.ElseList != nil {
			walk(b.ElseList, visit)
		}
	}
	switch node := node.(type) {
	case *parse.ListNode:
		for _, inner := range node.Nodes {
			walk(inner, visit)
		}
	case *parse.ActionNode:
		walk(node.Pipe, visit)
	case *parse.PipeNode:
		for _, command := range node.Cmds {
			walk(command, visit)
		}
	case *parse.CommandNode:
		for _, arg := range node.Args {
			walk(arg, visit)
		}
	case *parse.TemplateNode:
		if node.Pipe != nil {
			walk(node.Pipe, visit)
		}
	case *parse.IfNode:
		branch(node.BranchNode)
	case *parse.RangeNode:
		branch(node.BranchNode)
	case *parse.WithNode:
		branch(node.BranchNode)
	}
}
