// Go's own text/template and fmt as an oracle.
//
//	model < lines of JSON {"template": …, "data": …, "format": …, "arguments": […]}
//
// For each line it writes a line of JSON {"text": …, "error": …}. Whole numbers are int, others
// float64, and a mapping below the key "strings" is a map[string]string.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"text/template"
)

type question struct {
	Template  string
	Data      any
	Format    string
	Arguments []any
}

type answer struct {
	Text  string `json:"text"`
	Error string `json:"error"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.Scan() {
		decoder := json.NewDecoder(bytes.NewReader(in.Bytes()))
		decoder.UseNumber()
		var asked question
		if err := decoder.Decode(&asked); err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(respond(asked)); err != nil {
			log.Fatal(err)
		}
	}
}

func respond(asked question) answer {
	if asked.Format != "" {
		arguments, _ := typed(asked.Arguments, "").([]any)
		return answer{Text: fmt.Sprintf(asked.Format, arguments...)}
	}
	functions := template.FuncMap{"upper": strings.ToUpper}
	parsed, err := template.New("t").Option("missingkey=zero").Funcs(functions).Parse(asked.Template)
	if err != nil {
		return answer{Error: err.Error()}
	}
	var text strings.Builder
	if err := parsed.Execute(&text, typed(asked.Data, "")); err != nil {
		return answer{Text: text.String(), Error: err.Error()}
	}
	return answer{Text: text.String()}
}

func typed(value any, key string) any {
	switch v := value.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		f, _ := v.Float64()
		return f
	case []any:
		made := make([]any, len(v))
		for i, item := range v {
			made[i] = typed(item, "")
		}
		return made
	case map[string]any:
		if key == "strings" {
			made := map[string]string{}
			for name, item := range v {
				made[name] = item.(string)
			}
			return made
		}
		made := map[string]any{}
		for name, item := range v {
			made[name] = typed(item, name)
		}
		return made
	}
	return value
}
