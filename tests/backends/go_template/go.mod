module model

go 1.22
