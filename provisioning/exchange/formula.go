package exchange

import "strings"

// Spreadsheets run what starts so (OWASP, CSV Injection), and take the rest of a cell
// that starts with an apostrophe for text.
const (
	formulaStarts = "=+-@\t\r\n"
	apostrophe    = "'"
)

// asText is a cell as a spreadsheet shows it and does not run it. fromText undoes
// exactly that.
func asText(cell string) string {
	if isFormula(strings.TrimLeft(cell, apostrophe)) {
		return apostrophe + cell
	}
	return cell
}

// fromText is a cell as it was before asText.
func fromText(cell string) string {
	if plain := strings.TrimLeft(cell, apostrophe); plain != cell && isFormula(plain) {
		return cell[len(apostrophe):]
	}
	return cell
}

func isFormula(cell string) bool { return cell != "" && strings.IndexByte(formulaStarts, cell[0]) >= 0 }
