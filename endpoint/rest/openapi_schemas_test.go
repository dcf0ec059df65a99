package rest

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// object is a part of the OpenAPI document. JSON sorts its names.
type object map[string]any

// schemas describes Go types as their JSON looks: fields that are always there are
// required of answers, comments become descriptions, typed constants become the
// values that a text may have.
type schemas struct {
	t          testing.TB
	components object
	types      map[string]reflect.Type // by the names of components
	comments   map[string]string       // of types, and of fields as type.Field
	constants  map[string][]any        // by type
}

// described are the folders of the packages whose types are described.
var described = []string{"../../contract", "../../provisioning", "../../provisioning/allocation",
	"../../provisioning/enroll",
	"../../provisioning/linkedhub", "../../attest",
	"../../provisioning/inject", "../../provisioning/guard", "../../provisioning/attempts", "../../access",
	"../../authority", "../../credential", "../../hub", "../../hub/configuration", "../../hub/connection", "../../hub/identity",
	"../../hub/inject",
	"../../hub/telemetry", "../../hub/twin", "../../issuance", "../../audit", "../../store", "../own", "."}

// names are those of components that are not called as their Go types: because two
// of these have the same name, or because Azure has one.
var names = map[string]string{
	"access.Policy":               "SharedAccessPolicy",
	"allocation.CustomDefinition": "CustomAllocationDefinition",
	"audit.Entry":                 "AuditEntry",
	"audit.Field":                 "AuditChange",
	"contract.ErrorBody":          "ProvisioningServiceErrorDetails",
	"contract.HubErrorBody":       "HubError",
	"contract.Operation":          "RegistrationOperationStatus",
	"contract.Registration":       "DeviceRegistrationState",
	"authority.Authority":         "CertificateAuthority",
	"configuration.Content":       "ConfigurationContent",
	"configuration.Metrics":       "ConfigurationMetrics",
	"configuration.Preview":       "ConfigurationTargetsFound",
	"connection.Statistics":       "ServiceStatistics",
	"identity.Statistics":         "RegistryStatistics",
	"identity.Capabilities":       "DeviceCapabilities",
	"enroll.Group":                "EnrollmentGroup",
	"inject.Fault":                "InjectedFault",
	"inject.DeviceFault":          "InjectedDeviceFault",
	"issuance.Authority":          "IssuingAuthority",
	"issuance.Certificate":        "IssuedCertificate",
	"issuance.Policy":             "CredentialPolicy",
	"linkedhub.Link":              "HubLink",
	"provisioning.PreviewRequest": "AllocationPreview",
	"telemetry.Message":           "TelemetryMessage",
	"twin.Properties":             "TwinProperties",
	"rest.lookUpBody":             "DeviceRegistrationLookUp",
	"rest.configurationBody":      "Configuration",
	"rest.configurationMetrics":   "ConfigurationMetrics",
	"rest.deviceBody":             "Device",
	"rest.sentEnrollment":         "Enrollment",
	"rest.sentGroup":              "EnrollmentGroup",
	"rest.registerBody":           "DeviceRegistration",
	"rest.twinBody":               "Twin",
}

func newSchemas(t testing.TB) *schemas {
	s := &schemas{t: t, components: object{}, types: map[string]reflect.Type{}, comments: map[string]string{},
		constants: map[string][]any{}}
	for _, folder := range described {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, declaration := range file.Decls {
				if general, ok := declaration.(*ast.GenDecl); ok {
					s.read(file.Name.Name, general)
				}
			}
		}
	}
	return s
}

// read keeps the comments and constants of a declaration.
func (s *schemas) read(pkg string, declaration *ast.GenDecl) {
	for _, spec := range declaration.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			name := pkg + "." + spec.Name.Name
			s.comments[name] = sentence(declaration.Doc, spec.Doc)
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range structure.Fields.List {
				for _, ident := range field.Names {
					s.comments[name+"."+ident.Name] = sentence(field.Doc, field.Comment)
				}
			}
		case *ast.ValueSpec:
			if of, ok := spec.Type.(*ast.Ident); ok && len(spec.Values) == 1 && declaration.Tok == token.CONST {
				if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
					value, err := strconv.Unquote(literal.Value)
					if err != nil {
						s.t.Fatal(err)
					}
					s.constants[pkg+"."+of.Name] = append(s.constants[pkg+"."+of.Name], value)
				}
			}
		}
	}
}

func sentence(groups ...*ast.CommentGroup) string {
	for _, group := range groups {
		if text := strings.Join(strings.Fields(group.Text()), " "); text != "" {
			return text
		}
	}
	return ""
}

// of describes the type of a value; request says that it is of a request, where
// everything may be left out and what only the service writes is not described.
func (s *schemas) of(value any, request bool) object { return s.schema(reflect.TypeOf(value), request) }

func (s *schemas) schema(t reflect.Type, request bool) object {
	switch t {
	case reflect.TypeFor[time.Time](), reflect.TypeFor[provisioning.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return object{"description": "Any JSON", "nullable": true}
	case reflect.TypeFor[document.Object]():
		return s.schema(reflect.TypeFor[map[string]any](), request)
	case reflect.TypeFor[fault.Text]():
		return object{"type": "object",
			"description": "A text with what stands in it kept apart, to be said in another language",
			"required":    []string{"format"}, "properties": object{
				"format": object{"type": "string", "description": "In the form of Go's package fmt"},
				"args":   object{"type": "array", "description": "A string each, or a text", "items": object{}},
			}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.schema(t.Elem(), request)
	case reflect.String:
		if values := s.constants[typeName(t)]; values != nil {
			return object{"type": "string", "enum": values}
		}
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Interface:
		return object{"description": "Any JSON"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "format": "byte"}
		}
		return object{"type": "array", "items": s.schema(t.Elem(), request)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.schema(t.Elem(), request)}
	case reflect.Struct:
		return s.component(t, request)
	}
	s.t.Fatalf("%v has no schema yet: give it one here", t)
	return nil
}

// component describes a struct under its own name and returns the reference.
func (s *schemas) component(t reflect.Type, request bool) object {
	name := s.componentName(t)
	if request {
		name += "Request"
	}
	if known, ok := s.types[name]; ok && known != t {
		s.t.Fatalf("both %v and %v would be called %s: give one of them a name of its own in names", known, t, name)
	}
	reference := object{"$ref": "#/components/schemas/" + name}
	if s.types[name] == t {
		return reference
	}
	s.types[name] = t
	properties, required := object{}, []any{}
	for _, field := range reflect.VisibleFields(t) {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || tag == "-" || !field.IsExported() {
			continue
		}
		if tag == "" {
			s.t.Fatalf("%v.%s has no name in JSON", t, field.Name)
		}
		comment := s.comments[typeName(s.owner(t, field))+"."+field.Name]
		readOnly := strings.HasPrefix(comment, "read only")
		if request && readOnly {
			continue
		}
		property := s.schema(field.Type, request)
		optional := strings.Contains(options, "omit")
		if field.Type.Kind() == reflect.Pointer && !optional && !request {
			property = nullable(property)
		}
		properties[tag] = annotated(property, comment, readOnly)
		if !optional && !request {
			required = append(required, tag)
		}
	}
	schema := object{"type": "object", "properties": properties}
	if comment, ok := strings.CutPrefix(s.comments[typeName(t)], t.Name()); ok {
		schema["description"] = strings.TrimSuffix(name, "Request") + comment
	}
	if len(required) > 0 {
		schema["required"] = required
	}
	s.components[name] = schema
	return reference
}

// owner is the type that declares a field: one that is embedded, or t itself.
func (s *schemas) owner(t reflect.Type, field reflect.StructField) reflect.Type {
	for _, i := range field.Index[:len(field.Index)-1] {
		t = t.Field(i).Type
	}
	return t
}

func nullable(schema object) object {
	if schema["$ref"] != nil {
		return object{"allOf": []any{schema}, "nullable": true}
	}
	schema["nullable"] = true
	return schema
}

// annotated adds what is said of a field. Beside a reference OpenAPI 3.0 allows
// nothing.
func annotated(schema object, comment string, readOnly bool) object {
	if comment == "" && !readOnly {
		return schema
	}
	if schema["$ref"] != nil {
		schema = object{"allOf": []any{schema}}
	}
	if comment != "" {
		comment = strings.ReplaceAll(comment, "when nil", "when left out")
		schema["description"] = strings.ToUpper(comment[:1]) + comment[1:]
	}
	if readOnly {
		schema["readOnly"] = true
	}
	return schema
}

func typeName(t reflect.Type) string { return path.Base(t.PkgPath()) + "." + t.Name() }

func (s *schemas) componentName(t reflect.Type) string {
	if name, ok := names[typeName(t)]; ok {
		return name
	}
	if item, ok := strings.CutPrefix(t.Name(), "Page["); ok { // of a type by its full path
		items, _ := t.FieldByName("Items")
		if item == "" || items.Type == nil {
			s.t.Fatalf("%v is no page", t)
		}
		return s.componentName(items.Type.Elem()) + "Page"
	}
	name := t.Name()
	if name == "" {
		s.t.Fatalf("%v has no name: the document needs one for each structure", t)
	}
	return strings.ToUpper(name[:1]) + name[1:]
}
